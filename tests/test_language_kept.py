"""A language model somewhere else that hangs: it is noticed, started once more, then given up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from plan_films import film
from test_prompts_faithful import VLLM

from storyflow.budget import Budget
from storyflow.errors import BudgetError
from storyflow.farm.held import Held
from storyflow.farm.kept_model import DEATHS, KeptModel, News, Said
from storyflow.farm.language import running
from storyflow.farm.retries import WorkerDied, WorkerStuck
from storyflow.farm.vigil import BATCH_SECONDS, Vigil, batch_seconds
from storyflow.lock import Lock
from storyflow.lockfile import pin
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.model import Answer, EngineDied, LanguageModel, Question
from storyflow.prompts.settle import settle
from storyflow.prompts.write import Written, write

SILENCE = 100.0
HUNG = "it hangs"
WORDS = [f"q{number}" for number in range(6)]
NEVER = 1000


class Threaded(KeptModel):
    """Each life of its engine answers in a thread, as often as `lives` says, then hangs.

    Time passes only while it hangs, and while it gives signs of life.
    """

    def __init__(
        self,
        *lives: int,
        check: Callable[[], None] = lambda: None,
        held: Held | None = None,
        signs: bool = False,
    ) -> None:
        self.now = 0.0
        self.told: list[str] = []
        settings = EngineSettings("vllm", "m", silence=SILENCE)
        super().__init__(settings, self.told.append, check, held, clock=lambda: self.now)
        self._lives = list(lives)
        self._signs = signs
        self._let_go = threading.Event()
        self._hanging = False
        self.asked: list[str] = []
        self.ends: list[bool] = []

    def _start(self) -> None:
        self._hold(2.0)
        self.starts += 1
        self._left = self._lives.pop(0)
        self._news: queue.Queue[Said | News | str] = queue.Queue()
        self._hanging = False

    def _put(self, questions: Sequence[Question]) -> None:
        threading.Thread(target=self._work, args=(questions, self._news), daemon=True).start()

    def _work(self, questions: Sequence[Question], news: queue.Queue[Said | News | str]) -> None:
        for place, question in enumerate(questions):
            if self._left == 0:
                news.put(HUNG)
                self._let_go.wait()
                return
            self._left -= 1
            self.asked.append(question.user)
            news.put((place, Answer(f"{question.user}!", True)))
        news.put(News.END)

    def _next(self, seconds: float) -> Said | News:
        if not self._hanging:
            news = self._news.get(timeout=60)
            if not isinstance(news, str):
                return news
            self._hanging = True
        self.now += 0.9 * SILENCE
        return News.ALIVE if self._signs else News.NOTHING

    def _end(self, *, kindly: bool) -> None:
        self.ends.append(kindly)
        if not kindly:
            self._let_go.set()
            self._let_go = threading.Event()


def asked(words: Sequence[str]) -> list[Question]:
    return [Question("you", word) for word in words]


def test_an_engine_that_hangs_once_is_started_once_more_and_asked_the_rest() -> None:
    model = Threaded(4, NEVER)
    with running(model):
        said = model.ask(asked(WORDS))
    assert said == [Answer(f"{word}!", True) for word in WORDS]
    assert model.asked == WORDS, "what was answered is not asked again"
    assert model.starts == 2 and model.ends == [False, True]
    assert model.told == [
        "m hangs (it gave no sign of life for 180 s, the limit is 100 s); "
        "it is asked 2 questions again"
    ]


@pytest.mark.parametrize("first", [0, 3])
def test_an_engine_that_hangs_twice_is_given_up_whatever_it_answered(first: int) -> None:
    model = Threaded(first, 1)
    with pytest.raises(EngineDied, match="m hung 2 times: it gave no sign of life"), running(model):
        model.ask(asked(WORDS))
    assert model.starts == 2 and model.ends[:2] == [False, False]


def test_an_engine_that_only_seems_to_work_is_given_up_after_its_time_for_a_batch() -> None:
    model = Threaded(0, 0, signs=True)
    with pytest.raises(EngineDied, match=r"has been at one batch for 9\d\d s, the limit is 907 s"):
        model.ask(asked(WORDS))


def test_a_model_that_hangs_while_it_loads_is_given_up() -> None:
    class Stuck(Threaded):
        def _start(self) -> None:
            super()._start()
            raise WorkerStuck("it gave no sign of life for 2 h")

    model = Stuck(0, 0)
    with pytest.raises(EngineDied, match="hung 2 times"):
        model.setup()
    assert model.ends == [False, False]


def test_deaths_and_hangs_are_counted_apart() -> None:
    class Mixed(Threaded):
        def _next(self, seconds: float) -> Said | News:
            said = super()._next(seconds)
            if self.starts < DEATHS and said is not News.NOTHING:
                raise WorkerDied("killed")
            return said

    model = Mixed(NEVER, NEVER, 2, NEVER)
    with running(model):
        assert len(model.ask(asked(WORDS))) == len(WORDS)
    assert model.starts == 4
    assert [line.split()[1] for line in model.told] == ["died", "died", "hangs"]


def test_what_ends_the_work_is_heard_while_an_engine_hangs() -> None:
    held = Held(clock=lambda: model.now)
    budget = Budget(gpu_hours=0.01)
    model = Threaded(2, check=lambda: budget.refuse(held.gpu_seconds, "it"), held=held)
    with pytest.raises(BudgetError, match=r"it needs 0\.05 GPU-hours"), running(model):
        model.ask(asked(WORDS))
    assert model.starts == 1 and model.ends == [False], "ended without waiting for its goodbye"
    assert held.gpu_seconds == 2 * 0.9 * SILENCE


class OneModel:
    """Hands out one model for everything."""

    def __init__(self, model: KeptModel) -> None:
        self.model = model

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        with running(self.model):
            yield self.model

    vision = language


def words(on_failure: str) -> Written:
    resolved = film("film: Sea\nshots: [waves break, a gull lands]\n")
    section = VLLM.model_copy(update={"on_failure": on_failure})
    settled = settle(resolved, pin(Lock(), resolved), section)
    return write(resolved, settled, section, None, OneModel(Threaded(1, 0)))


def test_what_a_hanging_model_means_is_what_the_profile_says() -> None:
    done = words("compose")
    assert [row.state for row in done.standing] == ["provisional"] * 2
    assert [row.text for row in done.standing] == ["Waves break.", "A gull lands."]
    assert "the composer stands in for 1, 2: m hung 2 times" in str(done.problems[0])
    with pytest.raises(EngineDied, match="hung 2 times"):
        words("stop")


@pytest.mark.parametrize(
    ("tokens", "seconds"),
    [([], BATCH_SECONDS), ([1024], 651.2), ([1024] * 300, 15_960), ([2048, 16], 703.2)],
)
def test_a_batch_has_time_for_every_answer_at_full_length(
    tokens: list[int], seconds: float
) -> None:
    questions = [Question("you", "q", max_tokens=count) for count in tokens]
    assert batch_seconds(questions) == pytest.approx(seconds)


def test_a_vigil_counts_from_the_last_sign_of_life() -> None:
    vigil = Vigil(10, 30, now=0)
    for now in (9, 18, 27):
        vigil.heard(now)
        vigil.check(now)
    vigil.check(30)
    with pytest.raises(WorkerStuck, match="one batch for 31 s, the limit is 30 s"):
        vigil.check(31)
    with pytest.raises(WorkerStuck, match="no sign of life for 11 s, the limit is 10 s"):
        Vigil(10, now=0).check(11)


def test_what_is_held_is_seconds_times_gpus() -> None:
    now = 0.0
    held = Held(clock=lambda: now)
    first, second = held.begin(4), held.begin(0)
    now = 10.0
    assert held.gpu_seconds == 4 * 10 + 10, "a place without GPUs counts as one"
    held.end(first)
    held.end(first)
    now = 15.0
    held.end(second)
    with held.during(2):
        now = 16.0
    now = 20.0
    assert held.gpu_seconds == 40 + 15 + 2
