"""A language model in an actor on a real local Ray: it dies, is asked again, and leaves nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, noted
from local_ray import local_ray

from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import FarmError, ModelError
from storyflow.farm.held import Held
from storyflow.farm.kept_model import BATCH_BYTES, DEATHS, HANGS, News, Said
from storyflow.farm.language import language_model, running
from storyflow.farm.ray_language import RayModel
from storyflow.prompts.engines.openai import OpenAIModel
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.engines.vllm import VllmModel
from storyflow.prompts.model import Answer, Clip, EngineDied, Question, Refusal

pytestmark = pytest.mark.ray

HERE = Path(__file__).parent
WORDS = [f"q{number}" for number in range(12)]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    path = os.pathsep.join((str(HERE), os.environ.get("PYTHONPATH", "")))
    variables = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with local_ray(runtime_env={"env_vars": variables}) as ray:
        yield ray


def cluster(*settings: str) -> Cluster:
    return load_cluster("local", ("address=auto", *settings))


class Noting(RayModel):
    """Notes what arrives, for the engine to die after it and not on the way."""

    def _next(self, seconds: float) -> Said | News:
        said = super()._next(seconds)
        if not isinstance(said, News):
            with Path(self.name, "received").open("a") as file:
                file.write(f"{said[0]}\n")
        return said


def model(folder: Path, **options: Any) -> RayModel:
    return Noting(
        EngineSettings("vllm", str(folder), **options.pop("settings", {})),
        options.pop("where", cluster()),
        make=FakeEngine,
        **options,
    )


def asked(words: list[str]) -> list[Question]:
    return [Question("you", word) for word in words]


def lives(pid: str) -> bool:
    try:
        state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def all_processes(folder: Path) -> list[str]:
    return [pid for line in noted(folder, "started") for pid in line.split()]


def test_a_batch_is_answered_in_order_and_nothing_is_left(ray: Any, tmp_path: Path) -> None:
    with running(model(tmp_path)) as made:
        said = made.ask(asked([*WORDS, "refuse"]))
        assert made.ask([]) == []
        assert said == [*(Answer(f"{word}!", True) for word in WORDS), Refusal("no")]
        assert all(lives(pid) for pid in all_processes(tmp_path))
    assert len(noted(tmp_path, "started")) == 1, "one start for all questions"
    assert len(noted(tmp_path, "closed")) == 1
    assert len(all_processes(tmp_path)) == 2
    assert not any(lives(pid) for pid in all_processes(tmp_path))
    assert ray.is_initialized(), "it was there before"


def test_an_engine_killed_in_the_middle_is_asked_only_what_it_had_not_answered(
    ray: Any, tmp_path: Path
) -> None:
    (tmp_path / "die").write_text("5 3")
    told: list[str] = []
    with running(model(tmp_path, notify=told.append)) as made:
        said = made.ask(asked(WORDS))
    assert said == [Answer(f"{word}!", True) for word in WORDS]
    assert len(noted(tmp_path, "started")) == 3
    assert sorted(noted(tmp_path, "asked")) == sorted(WORDS), "each was asked once"
    deaths = [line for line in told if "died" in line]
    assert len(deaths) == 2 and "its process" in deaths[0]
    assert not any(lives(pid) for pid in all_processes(tmp_path))


def test_an_engine_that_dies_without_an_answer_is_given_up(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "die").write_text("0 0 0 0 0")
    with pytest.raises(EngineDied, match=f"died {DEATHS} times"), running(model(tmp_path)) as made:
        made.ask(asked(WORDS))
    assert len(noted(tmp_path, "started")) == DEATHS
    assert not any(lives(pid) for pid in all_processes(tmp_path))


def test_an_engine_that_hangs_is_ended_and_started_once_more(ray: Any, tmp_path: Path) -> None:
    """It hangs before its sixth answer, and in the second life before its next."""
    (tmp_path / "hang").write_text("5 0")
    told: list[str] = []
    held = Held()
    limit = 1000.0
    made = model(
        tmp_path,
        notify=told.append,
        held=held,
        settings={"silence": limit},
        # Each time it hangs, more time passes at once than it is given.
        clock=lambda: 2 * limit * len(noted(tmp_path, "hanging")),
    )
    with (
        pytest.raises(EngineDied, match=f"hung {HANGS} times: it gave no sign of life for 2000 s"),
        running(made),
    ):
        made.ask(asked(WORDS))
    assert len(noted(tmp_path, "started")) == HANGS
    assert noted(tmp_path, "closed") == [], "nobody asks politely who does not hear"
    (once,) = (line for line in told if "hangs" in line)
    assert f"asked {len(WORDS) - 5} questions again" in once
    assert not any(lives(pid) for pid in all_processes(tmp_path))
    assert held.gpu_seconds > 0


def test_a_model_that_cannot_be_loaded_is_told_as_itself(ray: Any, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    made = model(tmp_path)
    with pytest.raises(ModelError, match="no weights in this folder; name another"):
        made.setup()
    made.close()


def test_frames_reach_the_engine_a_few_clips_at_a_time(ray: Any, tmp_path: Path) -> None:
    shape = (16, 420, 360, 3)
    clips = [
        Clip(np.full(shape, number, np.uint8), Fraction(3), Fraction(5)) for number in range(9)
    ]
    questions = [Question("you", f"q{n}", clip=clip) for n, clip in enumerate(clips)]
    assert sum(clip.frames.nbytes for clip in clips) > BATCH_BYTES
    with running(model(tmp_path)) as made:
        said = made.ask(questions)
    assert said == [Answer(f"q{n}! {shape} {n}", True) for n in range(9)]
    assert len(noted(tmp_path, "started")) == 1


def test_a_model_that_fits_nowhere_is_refused_in_words(ray: Any, tmp_path: Path) -> None:
    where = cluster("workers.accelerator=H100")
    made = model(tmp_path, where=where)
    with pytest.raises(FarmError, match="it needs 1 CPU and a machine with H100, the cluster has"):
        made.setup()
    made.close()


def test_the_profile_decides_where_a_model_is_had() -> None:
    server = EngineSettings("openai", url="http://127.0.0.1:1/v1")
    assert isinstance(language_model(server, cluster()), OpenAIModel)
    local = EngineSettings("vllm", "some/model")
    assert isinstance(language_model(local, cluster()), RayModel)
    in_process = load_cluster("local", ("address=in-process",))
    assert isinstance(language_model(local, in_process), VllmModel)
