"""A language model whose engine lives elsewhere: it may die or hang there, and is started anew.

Every answer is kept as soon as it is there, so a new engine is asked only what is missing.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from storyflow.farm.held import Held
from storyflow.farm.retries import OutOfMemory, WorkerDied, WorkerStuck
from storyflow.farm.vigil import Vigil, batch_seconds
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.model import Answer, EngineDied, Question, Refusal
from storyflow.stopping import Check, go_on

Notify = Callable[[str], None]

DEATHS = 3
"""So many deaths without a single answer between them, and the model is given up."""

HANGS = 2
"""So many times stuck, and it is given up: once may be the machine, and each costs its limit."""

BATCH_BYTES = 48 << 20
"""Frames on their way to the engine at once: Ray's object store is small."""

POLL_SECONDS = 0.5
"""How often a wait looks up: whether it takes too long, or is to end."""

Said = tuple[int, Answer | Refusal]


class News(Enum):
    """What comes from an engine besides answers."""

    NOTHING = "nothing came"
    ALIVE = "it works on"
    END = "it has answered everything"


class KeptModel(ABC):
    """Implements `LanguageModel` for engines elsewhere.

    `check` is called while one waits; what it raises ends the work. `held` is told how long the
    engine holds its GPUs.
    """

    def __init__(
        self,
        settings: EngineSettings,
        notify: Notify = lambda _: None,
        check: Check = go_on,
        held: Held | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._notify = notify
        self._check = check
        self._held = held or Held()
        self._clock = clock
        self._place: int | None = None
        self._living = False
        self._busy = False
        self._hangs = 0
        self.starts = 0

    @property
    def name(self) -> str:
        """Hub id or folder."""
        return self._settings.model

    @property
    def revision(self) -> str:
        """Commit, tag or branch."""
        return self._settings.revision or ""

    def setup(self) -> None:
        """Start the engine and load the model. Raises ModelError, FarmError, EngineDied."""
        deaths = 0
        while not self._living:
            try:
                self._start()
                self._living = True
            except (WorkerDied, OutOfMemory) as error:
                deaths += 1
                self._gone(error, deaths)

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        """The answers, in the order of the questions. Raises EngineDied, FarmError, ModelError."""
        said: dict[int, Answer | Refusal] = {}
        deaths = 0
        for batch in _batches(questions):
            while waiting := [place for place in batch if place not in said]:
                self.setup()
                before = len(said)
                try:
                    for number, answer in self._answers([questions[n] for n in waiting]):
                        said[waiting[number]] = answer
                except (WorkerDied, OutOfMemory, EngineDied) as error:
                    deaths = deaths + 1 if len(said) == before else 1
                    self._gone(error, deaths)
                    left = sum(place not in said for place in range(len(questions)))
                    what = "hangs" if isinstance(error, WorkerStuck) else "died"
                    self._notify(
                        f"{self.name} {what} ({error}); it is asked {left} questions again"
                    )
        return [said[place] for place in range(len(questions))]

    def close(self) -> None:
        """End the engine and all that it started.

        Raises FarmError where a process can't be ended: it would keep its accelerator.
        """
        self._leave(kindly=True)

    @abstractmethod
    def _start(self) -> None:
        """Bring an engine up, and `_hold` its place. Raises ModelError, FarmError, WorkerDied."""

    @abstractmethod
    def _put(self, questions: Sequence[Question]) -> None:
        """Hand a batch over."""

    @abstractmethod
    def _next(self, seconds: float) -> Said | News:
        """What comes next within so many seconds, an answer with its place in the batch. Raises
        WorkerDied, OutOfMemory, EngineDied."""

    @abstractmethod
    def _end(self, *, kindly: bool) -> None:
        """Leave nothing behind of the engine, if there is one; not `kindly` where it is stuck or
        dead. Raises FarmError."""

    def _hold(self, gpus: float) -> None:
        """From now on the engine holds so many GPUs."""
        self._place = self._held.begin(gpus)

    def _answers(self, questions: Sequence[Question]) -> Iterator[Said]:
        limit = self._settings.batch_timeout
        most = batch_seconds(questions) if limit is None else limit
        vigil = Vigil(self._settings.silence, most, now=self._clock())
        self._busy = True
        self._put(questions)
        while (news := self._next(POLL_SECONDS)) is not News.END:
            if news is not News.NOTHING:
                vigil.heard(self._clock())
            if not isinstance(news, News):
                yield news
            self._check()
            vigil.check(self._clock())
        self._busy = False

    def _gone(self, error: Exception, deaths: int) -> None:
        """Clear away what died or hangs. Raises EngineDied where it did so often enough."""
        self._hangs += isinstance(error, WorkerStuck)
        self._leave(kindly=False)
        if self._hangs >= HANGS:
            raise EngineDied(
                f"{self.name} hung {self._hangs} times: {error}",
                cure="look at its machine; a slow one needs longer limits in the profile's prompts",
            ) from None
        if deaths >= DEATHS:
            raise EngineDied(
                f"{self.name} died {deaths} times without an answer: {error}",
                cure="look at the memory of its machine, then run the same command again",
            ) from None

    def _leave(self, *, kindly: bool) -> None:
        try:
            self._end(kindly=kindly and not self._busy)
        finally:
            self._living = self._busy = False
            if self._place is not None:
                self._held.end(self._place)
                self._place = None


def _batches(questions: Sequence[Question]) -> Iterator[list[int]]:
    """Places of questions that travel together: as many as their frames allow, most often all."""
    batch: list[int] = []
    held = 0
    for place, question in enumerate(questions):
        size = 0 if question.clip is None else question.clip.frames.nbytes
        if batch and held + size > BATCH_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(place)
        held += size
    if batch:
        yield batch
