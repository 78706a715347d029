"""A language model in vLLM's engine, in this process. vLLM is imported when it is set up.

Answers are handed out one by one as they are finished, so that whoever asked from another process
keeps what was answered when this one dies.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from storyflow.errors import ModelError
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.model import Answer, Clip, EngineDied, Question, Refusal

INSTALL = (
    "install it with: pip install 'storyflow[vllm]' (GPU machines), name an OpenAI-compatible "
    "server instead, or set the enhancer to none"
)

SIGN_SECONDS = 5.0
"""How often a working engine gives a sign of life."""


class VllmModel:
    """Implements `LanguageModel` with `vllm.LLM`."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._llm: Any = None

    @property
    def name(self) -> str:
        """Hub id or folder."""
        return self._settings.model

    @property
    def revision(self) -> str:
        """Commit, tag or branch."""
        return self._settings.revision or ""

    def setup(self) -> None:
        """Load the model. Raises ModelError."""
        settings = self._settings
        if settings.tensor_parallel == 1:
            # One process: it is gone when this one is, and schedules the same way every time.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        try:
            from vllm import LLM
            from vllm.platforms import current_platform
        except ImportError as error:
            raise ModelError(f"vLLM can't be imported: {error}", cure=INSTALL) from None
        options: dict[str, Any] = {}
        if settings.tensor_parallel > 1:
            options["distributed_executor_backend"] = "mp"
        try:
            self._llm = LLM(
                model=settings.model,
                revision=settings.revision,
                tokenizer_revision=settings.revision,
                trust_remote_code=False,
                load_format="safetensors",
                dtype=settings.dtype,
                tensor_parallel_size=settings.tensor_parallel,
                gpu_memory_utilization=settings.gpu_memory,
                max_model_len=settings.max_model_len,
                # Compiling pays on a GPU only.
                enforce_eager=current_platform.is_cpu(),
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
                seed=0,
                **options,
            )
        except Exception as error:  # whatever a model folder can be wrong about
            raise ModelError(
                f"vLLM can't load {settings.model}: {_brief(error)}",
                cure="check model, revision and max_model_len in the profile, and the GPU's memory",
            ) from error

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        """The answers to one batch. Raises EngineDied."""
        said = dict(each for each in self.answers(questions) if each is not None)
        return [said[place] for place in range(len(questions))]

    def answers(
        self, questions: Sequence[Question]
    ) -> Iterator[tuple[int, Answer | Refusal] | None]:
        """The answers to one batch as they are finished, each with its question's place.

        None now and then, as a sign of life, while there is none. Raises EngineDied.
        """
        if self._llm is None:
            raise EngineDied(f"{self.name} is not set up")
        engine = self._llm.llm_engine
        waiting: dict[str, int] = {}
        sign = time.monotonic()
        for place, question in enumerate(questions):
            try:
                (request,) = self._llm.enqueue(
                    [self._prompt(question)], [_sampling(question)], use_tqdm=False
                )
                # Finished ones come back under their number, without the letters for uniqueness.
                waiting[request.partition("-")[0]] = place
            except Exception as error:  # too long, no chat template, a picture for a text model
                if _is_dead(error):
                    raise EngineDied(f"vLLM died: {_brief(error)}") from error
                yield place, Refusal(_brief(error))
            if time.monotonic() - sign > SIGN_SECONDS:
                yield None
                sign = time.monotonic()
        while waiting:
            try:
                finished = [each for each in engine.step() if each.finished]
            except Exception as error:
                raise EngineDied(f"vLLM died: {_brief(error)}") from error
            for each in finished:
                # Others belong to a batch that somebody gave up.
                if (asked := waiting.pop(each.request_id, None)) is not None:
                    output = each.outputs[0]
                    yield asked, Answer(output.text, output.finish_reason == "stop")
            if time.monotonic() - sign > SIGN_SECONDS:
                yield None
                sign = time.monotonic()

    def close(self) -> None:
        """End the engine and what it started, and give its memory back."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        with suppress(Exception):
            llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        with suppress(Exception):
            import torch

            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _prompt(self, question: Question) -> dict[str, Any]:
        """The question in the model's own chat form. Raises ValueError without one."""
        clip = question.clip
        user: Any = question.user
        data: dict[str, Any] = {}
        if clip is not None:
            kind = "image" if len(clip.frames) == 1 else "video"
            user = [{"type": kind}, {"type": "text", "text": question.user}]
            data = {"multi_modal_data": _media(clip)}
        text = self._llm.get_tokenizer().apply_chat_template(
            [{"role": "system", "content": question.system}, {"role": "user", "content": user}],
            add_generation_prompt=True,
            tokenize=False,
        )
        return {"prompt": text, **data}


def _media(clip: Clip) -> dict[str, Any]:
    """The frames as vLLM takes them: chosen already, with their own time."""
    if len(clip.frames) == 1:
        from PIL import Image

        return {"image": Image.fromarray(clip.frames[0])}
    count = len(clip.frames)
    told = {
        "fps": float(clip.fps),
        "duration": float(clip.seconds),
        "total_num_frames": count,
        "frames_indices": list(range(count)),
        "video_backend": "storyflow",
        "do_sample_frames": False,
    }
    return {"video": [(clip.frames, told)]}


def _sampling(question: Question) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    guided = None if question.schema is None else StructuredOutputsParams(json=question.schema)
    return SamplingParams(
        max_tokens=question.max_tokens,
        temperature=question.temperature,
        seed=question.seed,
        structured_outputs=guided,
    )


def _is_dead(error: Exception) -> bool:
    return type(error).__name__ == "EngineDeadError"


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
