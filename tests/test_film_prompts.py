"""A film whose words a model writes, through the real engine on tiny random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from films import Studio
from test_film_sources_model import SETTINGS
from test_prompts_faithful import Desk, dies

import storyflow
from storyflow.errors import BudgetError, InputError
from storyflow.events import Notice, PromptsWritten
from storyflow.farm.held import Held
from storyflow.live import summary
from storyflow.lockfile import lock_path, read_lock
from storyflow.prompts.model import Answer, EngineDied, LanguageModel, Question, Refusal
from storyflow.record import read_record

STORY = """\
film: Words
shots:
- {id: A, dur: 20f, do: waves break}
- {id: B, from: A, dur: 8f, do: they calm down}
"""
MODEL = (*SETTINGS, "prompts.enhancer=vllm", "prompts.captioner=vllm", "prompts.name=model")


def talks(question: Question) -> Answer | Refusal:
    """Adds light where it is asked for words, and sees fog where it is shown frames."""
    if question.clip is not None:
        assert question.clip.frames.ndim == 4
        return Answer(json.dumps({"environment": "thick fog"}), True)
    if question.schema:
        return Answer(json.dumps({"lighting": "soft light"}), True)
    return Refusal("busy")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    made = Studio(tmp_path, STORY)
    made.options |= {"pipeline": "toybox", "settings": MODEL}
    return made


def texts(studio: Studio) -> list[str]:
    lock = read_lock(lock_path(studio.file))
    return [p.text for shot in lock.shots for p in shot.prompts_for("model")]


def test_a_render_writes_its_words_first_and_renders_them(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(talks)
    monkeypatch.setattr("storyflow.farm.language.ProfileWriters", lambda *_: desk)
    made = studio.render()
    assert made.result.complete
    assert "writing 2 prompts with model" in [e.text for e in made.events if isinstance(e, Notice)]
    first = ["Waves break. The lighting is soft light.",
             "They calm down. The lighting is soft light."]  # fmt: skip
    assert texts(studio) == first
    plan = storyflow.plan(studio.file, **studio.options)
    assert [s.inputs.prompt for s in plan.segments if s.index == 0] == first

    # The prose failed, so it is asked for again; the words are the same, so nothing is rendered.
    assert studio.render().names == ()
    seen = storyflow.write_prompts(studio.file, from_renders=True, **studio.options)
    assert [p.name for p in seen.prompts if p.changed] == ["B"]
    assert texts(studio) == [first[0], "They calm down. The setting is thick fog. "
                             "The lighting is soft light."]  # fmt: skip
    assert all(name.startswith("B/") for name in studio.render().names)


def test_a_dead_engine_stops_a_render_that_must_not_do_without(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storyflow.farm.language.ProfileWriters", lambda *_: Desk(dies))
    studio.options["settings"] = (*MODEL, "prompts.on_failure=stop")
    run = storyflow.start(studio.file, **studio.options)
    with pytest.raises(EngineDied):
        run.result()
    assert run.ending is not None and run.ending.exit_code == 5
    assert not (studio.folder / "store").exists() and texts_or_none(studio) is None


def texts_or_none(studio: Studio) -> list[str] | None:
    return texts(studio) if lock_path(studio.file).exists() else None


def test_nobody_looks_at_renders_without_a_captioner(studio: Studio) -> None:
    studio.options["settings"] = SETTINGS
    with pytest.raises(InputError, match=r"nobody who looks.*--set prompts.captioner=vllm"):
        storyflow.write_prompts(studio.file, from_renders=True, **studio.options)


class Holding(Desk):
    """A desk whose model holds GPUs, and for how long it says itself."""

    def __init__(self, held: Held, check: Callable[[], None]) -> None:
        super().__init__(talks)
        self._held, self._check = held, check

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        with self._held.during(1e6):
            yield self.model
        self._check()


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "storyflow.farm.language.ProfileWriters",
        lambda settings, cluster, notify, check, held: Holding(held, check),
    )


def test_what_a_model_held_for_the_words_is_in_the_bill(studio: Studio, holding: None) -> None:
    made = studio.render()
    spent = made.result.spent
    told = [e.gpu_seconds for e in made.events if isinstance(e, PromptsWritten)]
    assert told == [spent.prompt_seconds] and spent.prompt_seconds > 0
    record = read_record(made.result.folder)
    assert record is not None and record.last is not None and record.last.gpu_seconds is not None
    used = spent.prompt_seconds + spent.worker_seconds
    assert record.last.gpu_seconds == pytest.approx(used)
    assert "GPU-seconds for the prompts" in summary(made.result)[-1]


def test_a_limit_ends_the_writing_of_words(studio: Studio, holding: None) -> None:
    with pytest.raises(BudgetError, match="going on with the prompts needs"):
        storyflow.write_prompts(studio.file, max_gpu_hours=1e-9, **studio.options)
    assert texts_or_none(studio) is None


def test_a_model_wider_than_the_limit_is_not_started(studio: Studio, holding: None) -> None:
    studio.options["settings"] = (*MODEL, "prompts.language.tensor_parallel=4")
    with pytest.raises(BudgetError, match="holds 4 GPUs, more than --max-gpus 2"):
        storyflow.write_prompts(studio.file, max_gpus=2, **studio.options)
