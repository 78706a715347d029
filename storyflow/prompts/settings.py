"""The `prompts:` section of a pipeline profile: who writes the prompts, and how.

It decides words, and words are pinned in the lock: no setting of it enters a key by itself.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from storyflow.documents import Strict
from storyflow.prompts.engines.settings import CAPTIONER, ENHANCER, EngineSettings

COMPOSER = "composer"
"""The writer that needs no model, and the name of its prompt profile."""

OPENAI = "https://api.openai.com/v1"
"""The address that `openai` stands for."""


def _writer(text: str) -> str:
    if text in ("none", "vllm", "openai") or re.match(r"https?://\S+$", text):
        return text
    cure = "write none, vllm, openai, or the http:// address of an OpenAI-compatible server"
    raise PydanticCustomError("unknown-writer", "nobody writes prompts this way", {"cure": cure})


Writer = Annotated[str, AfterValidator(_writer)]


class ModelSettings(Strict):
    """One language model and how it is asked."""

    model: str = Field(
        min_length=1, description="Hub id or local folder; for a server, the name it serves."
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch of a hub id.")
    temperature: float = Field(
        default=0.0, ge=0.0, le=2.0, description="0 always takes the likeliest word."
    )
    seed: int = Field(default=0, ge=0, description="Of its sampling, where that is not at 0.")
    max_tokens: int = Field(
        default=1024, ge=16, le=16_384, description="Longest answer to one question."
    )
    context: int = Field(
        default=8192, ge=256, description="Tokens of question and answer together."
    )
    tensor_parallel: int = Field(default=1, ge=1, le=64, description="GPUs that share the model.")
    gpu_memory: float = Field(
        default=0.9, gt=0.0, le=1.0, description="Share of a GPU that vLLM takes."
    )
    load_timeout: float = Field(
        default=7200.0, gt=0.0, description="Seconds that vLLM has to fetch and load the model."
    )
    silence: float = Field(
        default=600.0,
        gt=0.0,
        description="Seconds without a sign of life after which vLLM is taken to hang.",
    )
    batch_timeout: float | None = Field(
        default=None,
        gt=0.0,
        description="Seconds that vLLM has for one batch of questions; without it ten minutes, "
        "and one more for every 20 tokens that it may write.",
    )
    timeout: float = Field(
        default=300.0, gt=0.0, description="Seconds that a server has for one answer."
    )
    retries: int = Field(
        default=4, ge=0, le=20, description="How often a server is asked again after a failure."
    )
    concurrency: int = Field(
        default=16, ge=1, le=1024, description="Questions that a server gets at once."
    )
    guidance: Literal["response_format", "vllm", "none"] = Field(
        default="response_format", description="How a server is told the form of an answer."
    )
    takes_clips: bool = Field(
        default=True, description="A server takes whole clips, not only single pictures."
    )

    def engine(self, writer: str) -> EngineSettings:
        """The engine that asks this model, where `writer` says which: vllm, openai or an address.

        Raises ValueError for none.
        """
        if writer == "none":
            raise ValueError("nobody is asked")
        return EngineSettings(
            engine="vllm" if writer == "vllm" else "openai",
            model=self.model,
            revision=self.revision,
            tensor_parallel=self.tensor_parallel,
            gpu_memory=self.gpu_memory,
            max_model_len=self.context,
            load_timeout=self.load_timeout,
            silence=self.silence,
            batch_timeout=self.batch_timeout,
            url={"vllm": "", "openai": OPENAI}.get(writer, writer),
            timeout=self.timeout,
            concurrency=self.concurrency,
            attempts=self.retries + 1,
            guidance=self.guidance,
            takes_clips=self.takes_clips,
        )


class LanguageSettings(ModelSettings):
    """The model that enhances and fuses."""

    model: str = Field(
        default=ENHANCER,
        min_length=1,
        description="Hub id or local folder; for a server, the name it serves.",
    )


class VisionSettings(ModelSettings):
    """The model that looks at pictures and clips."""

    model: str = Field(
        default=CAPTIONER,
        min_length=1,
        description="Hub id or local folder; for a server, the name it serves.",
    )
    max_tokens: int = Field(
        default=2048, ge=16, le=16_384, description="Longest answer to one question."
    )
    context: int = Field(
        default=31_920, ge=256, description="Tokens of question and answer together."
    )


class Instructions(Strict):
    """Files with other instructions to the models than storyflow ships."""

    enhancer: str | None = Field(default=None, description="For filling in what is not said.")
    captioner: str | None = Field(default=None, description="For describing pictures and clips.")
    fuser: str | None = Field(default=None, description="For prose, of text-to-video shots.")
    image_fuser: str | None = Field(default=None, description="For prose, of shots from a picture.")


class PromptsSection(Strict):
    """Who writes the prompts. What was written stands in the lock and stays."""

    name: str = Field(
        default="",
        max_length=100,
        description="Pipelines of one name share their prompts in the lock; without one, those "
        "that are written by the same model do.",
    )
    enhancer: Writer = Field(
        default="none",
        description="none: the composer writes, without a model; vllm: a model on the cluster; "
        "openai, or an address: an OpenAI-compatible server.",
    )
    captioner: Writer = Field(
        default="none",
        description="Who looks at the pictures and clips that shots start from, likewise.",
    )
    on_failure: Literal["compose", "stop"] = Field(
        default="compose",
        description="When a model dies for good: the composer writes, provisionally, or nothing "
        "is rendered. A submitted film always stops.",
    )
    words: int = Field(
        default=150,
        ge=20,
        le=400,
        description="Longest prompt that a model may write, in words; what the storyboard says "
        "is never cut.",
    )
    language: LanguageSettings = LanguageSettings()
    vision: VisionSettings = VisionSettings()
    instructions: Instructions = Instructions()

    @property
    def composed(self) -> bool:
        """Whether the composer writes, so that prompts are known without asking anybody."""
        return self.enhancer == "none" and self.captioner == "none"

    @property
    def profile(self) -> str:
        """The name under which the lock keeps the prompts."""
        return self.name or (COMPOSER if self.composed else self._model.model)

    @property
    def source(self) -> str:
        """Who writes and how, in one line for the lock."""
        if self.composed:
            return COMPOSER
        model = self._model
        at = f"@{model.revision}" if model.revision else ""
        return f"{model.model}{at} temperature={model.temperature:g} seed={model.seed}"

    @property
    def _model(self) -> ModelSettings:
        return self.vision if self.enhancer == "none" else self.language
