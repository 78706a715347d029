"""What batching prompts over a whole series is worth, on real vLLM with a tiny random model.

    python tests/bench/bench_prompts.py

Needs the environment of tests/vllm. One engine start; the same questions in one batch per wave, and
a part of them one by one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "vllm"), str(HERE.parent / "vllm" / "support")]
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
sys.modules.pop("sitecustomize", None)
import sitecustomize  # noqa: E402, F401 - lets torchvision be imported
import tiny  # noqa: E402
from figures import Figure, Row  # noqa: E402

from storyflow.prompts.asking import Manner  # noqa: E402
from storyflow.prompts.engines.settings import EngineSettings  # noqa: E402
from storyflow.prompts.engines.vllm import VllmModel  # noqa: E402
from storyflow.prompts.enhance import enhance  # noqa: E402
from storyflow.prompts.instructions import instructions  # noqa: E402
from storyflow.prompts.model import Answer, Question, Refusal  # noqa: E402
from storyflow.storyboard.load import parse  # noqa: E402
from storyflow.storyboard.resolve import resolve  # noqa: E402
from storyflow.storyboard.resolved import ResolvedFilm  # noqa: E402

ACTIONS = ("climbs the stair", "wipes the lens", "looks out to sea", "lights the lamp", "waits")


class Counted:
    """A model that counts its starts and keeps the questions."""

    def __init__(self, model: VllmModel) -> None:
        self._model = model
        self.starts = 0
        self.questions: list[Question] = []
        self.name, self.revision = model.name, model.revision

    def setup(self) -> None:
        """Load the model."""
        self.starts += 1
        self._model.setup()

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        """One batch."""
        self.questions += questions
        return self._model.ask(questions)

    def close(self) -> None:
        """Unload the model."""
        self._model.close()


def series(shots: int) -> ResolvedFilm:
    """A film of ten shots a scene."""
    scenes: list[dict[str, Any]] = [
        {
            "scene": f"INT. ROOM {start} - NIGHT",
            "light": "warm lamp light",
            "shots": [
                {"id": f"s{number}", "do": f"@keeper {ACTIONS[number % len(ACTIONS)]}"}
                for number in range(start, min(start + 10, shots))
            ],
        }
        for start in range(0, shots, 10)
    ]
    film = {"film": "Series", "cast": {"keeper": "man of sixty, navy coat"}, "scenes": scenes}
    return resolve(parse(film))


def measure(shots: int, single: int) -> Row:
    """All shots in batches, `single` of the same questions one by one."""
    with tempfile.TemporaryDirectory() as folder:
        place = tiny.text_model(Path(folder) / "text")
        settings = EngineSettings("vllm", str(place), dtype="float32", max_model_len=8192)
        model = Counted(VllmModel(settings))
        began = time.perf_counter()
        model.setup()
        start = time.perf_counter() - began
        film = series(shots)
        manner = Manner(instructions("enhancer"), max_tokens=3000)
        model.ask([Question("warm", "up", max_tokens=8)])
        model.questions.clear()
        began = time.perf_counter()
        made = enhance(film, model, manner)
        batched = (time.perf_counter() - began) / len(model.questions)
        chosen = model.questions[:: max(1, len(model.questions) // single)][:single]
        began = time.perf_counter()
        for question in chosen:
            model.ask([question])
        alone = (time.perf_counter() - began) / len(chosen)
        model.close()
    return Row(
        "prompts",
        f"{shots} shots, a random Qwen2 of two layers on the CPU, guided by the schema",
        (
            Figure("engine starts", model.starts, "", "1"),
            Figure("shots with a valid caption", len(made.captions), f"of {shots}"),
            Figure("seconds to start the engine", start, "s"),
            Figure("seconds a question, batched over the film", batched, "s"),
            Figure(f"seconds a question, one by one ({len(chosen)} of them)", alone, "s"),
            Figure("throughput, batched over one by one", alone / batched, "x", ">= 5"),
        ),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=300)
    parser.add_argument("--single", type=int, default=16)
    given = parser.parse_args()
    print(measure(given.shots, given.single))


if __name__ == "__main__":
    main()
