"""The two stages of rendering, as a dispatcher's work: prompts, then segments.

Each says what its tasks are, what each comes to once what it needs is known, and what to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from storyflow.errors import DamagedError, SegmentError
from storyflow.events import (
    Event,
    Notice,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    WorkerLost,
    WorkerReady,
    WorkerReleased,
)
from storyflow.farm.borders import (
    Do,
    MachineLeft,
    Reuse,
    TaskDone,
    TaskFailed,
    TaskPromised,
    TaskRetried,
    TaskStarted,
    WorkerDown,
    WorkerRested,
    WorkerUp,
)
from storyflow.farm.graph import Task
from storyflow.farm.identify import Embedding, history_grid, identify
from storyflow.farm.jobs import Job, PromptJob, Rendered, Role, SegmentJob
from storyflow.farm.noting import Noting
from storyflow.farm.oneclass import OneClass, variant
from storyflow.farm.retries import WorkerDied
from storyflow.farm.starting import Starting
from storyflow.farm.terms import Terms
from storyflow.farm.timings import prompt_entry, timing_entry
from storyflow.planning.keys import canonical, prompt_key
from storyflow.planning.nodes import Plan, Segment
from storyflow.planning.sources import key_of
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.kept import StoredArtifacts
from storyflow.store.store import Store

Emit = Callable[[Event], None]


class FilmWork:
    """What both stages know and find out."""

    def __init__(
        self,
        plan: Plan,
        kind: ModelKind,
        store: Store,
        emit: Emit,
        segments: dict[str, Segment],
        one_class: OneClass | None,
        terms: Terms,
    ) -> None:
        self.plan, self.kind, self.store, self.emit = plan, kind, store, emit
        self.one_class, self.terms = one_class, terms
        self.gpu_seconds = terms.used
        self.gpus = 1.0
        self.starting = Starting()
        self.segments = segments
        self.embeddings: dict[str, Embedding] = {}
        self.unreadable: dict[str, BaseException] = {}
        self.artifacts = StoredArtifacts(store)
        self.noting = Noting(store)
        self.reused: set[str] = set()
        self.failures: list[ShotFailed] = []
        self.lost: set[str] = set()

    async def stored(self, key: str) -> Artifact | None:
        """The whole, verified artifact of a key; a damaged one is set aside and not found."""
        artifact, notice = await asyncio.to_thread(self._stored, key)
        if notice:
            self.emit(Notice(notice))
        return artifact

    async def find(self, key: str, role: Role) -> tuple[Artifact | None, str]:
        """`stored`, in the numerics class that the run is held to, and the key of its place."""
        if self.one_class is None:
            return await self.stored(key), key
        told: list[str] = []

        def ask(key: str) -> Artifact | None:
            artifact, notice = self._stored(key)
            told.append(notice)
            return artifact

        found = await asyncio.to_thread(self.one_class.of(role).find, ask, key)
        for notice in filter(None, told):
            self.emit(Notice(notice))
        return found

    def _stored(self, key: str) -> tuple[Artifact | None, str]:
        artifact = self.store.find(key)
        if artifact is None:
            return None, ""
        try:
            self.store.check(artifact)
        except DamagedError as error:
            return None, f"{error.what}; it is rendered again"
        return artifact, ""

    def check_poison(self, key: str, name: str) -> None:
        """Raises SegmentError for what failed for good in an earlier run."""
        failed = self.terms.poison.find(key)
        if failed is not None:
            raise SegmentError(
                f"{name} failed for good before ({failed.when}: {failed.error}) and is not tried "
                "again",
                cure=f"change it, or let it be tried with: {self.terms.poison.retry}",
            )

    def missing(self, lost: set[str]) -> tuple[str, ...]:
        """The shots of the cut whose take contains one of these recipes."""
        shots = []
        for entry in self.plan.cut:
            take = self.plan.take(entry.shot, entry.take)
            if any(segment.recipe in lost for segment in take.segments):
                shots.append(entry.shot)
        return tuple(dict.fromkeys(shots))


class Stage:
    """One dispatcher's work: its tasks, what each comes to, and what to tell about it."""

    role: Role

    def __init__(self, film: FilmWork) -> None:
        self.film = film
        self.promised: dict[str, Artifact] = {}

    def tasks(self) -> Iterator[Task]:
        raise NotImplementedError

    async def resolve(self, task: str) -> Reuse[Rendered] | Do[Job]:
        raise NotImplementedError

    def name(self, task: str) -> str:
        raise NotImplementedError

    def knows(self, task: str) -> bool:
        """Whether a task is one of its own."""
        raise NotImplementedError

    def watch(self, event: object) -> None:
        """Translate what the dispatcher tells into the run's events."""
        match event:
            case WorkerUp(worker=worker, numerics=numerics):
                self.film.emit(WorkerReady(worker, numerics, renders=self.role != "prompt"))
            case WorkerDown(worker=worker, task=task, cause=cause):
                self.film.emit(WorkerLost(worker, self.name(task) if task else None, cause))
            case WorkerRested(worker=worker):
                self.film.emit(WorkerReleased(worker))
            case TaskRetried(task=task, attempt=attempt, error=error):
                if not isinstance(error, WorkerDied):
                    text = f"{self.name(task)} failed in attempt {attempt} ({error}); trying again"
                    self.film.emit(Notice(text))
            case TaskStarted(task=task, worker=worker, attempt=attempt):
                self.started(task, worker, attempt)
            case TaskPromised(task=task, output=Rendered() as output):
                self.promised[task] = output.artifact
            case TaskDone(task=task, output=Rendered() as output, worker=worker, seconds=seconds):
                self.done(task, output, worker, seconds)
            case TaskFailed(task=task, error=error, blocked=blocked, attempts=attempts):
                if attempts:
                    self.poisoned(task, str(error))
                self.failed(task, error, blocked)
            case MachineLeft(machine=machine, deaths=deaths):
                text = f"machine {machine} lost workers in {deaths} segments and is left alone"
                self.film.emit(Notice(text))

    def started(self, task: str, worker: str, attempt: int) -> None:
        """A worker began."""

    def done(self, task: str, output: Rendered, worker: str | None, seconds: float) -> None:
        raise NotImplementedError

    def failed(self, task: str, error: BaseException, blocked: tuple[str, ...]) -> None:
        raise NotImplementedError

    def poisoned(self, task: str, error: str) -> None:
        """A worker tried it and it failed for good: it is not tried again by itself."""
        raise NotImplementedError


class Prompts(Stage):
    """Every text once; tasks are named by the text's key."""

    role: Role = "prompt"

    def __init__(self, film: FilmWork) -> None:
        super().__init__(film)
        inputs = [segment.inputs for segment in film.segments.values() if segment.key is None]
        texts = dict.fromkeys(text for i in inputs for text in (i.prompt, i.negative))
        self.texts = {prompt_key(film.kind.encoder, text): text for text in texts}
        self.places: dict[str, str] = {}

    def tasks(self) -> Iterator[Task]:
        for key in self.texts:
            yield Task(key)

    async def resolve(self, task: str) -> Reuse[Rendered] | Do[Job]:
        artifact, key = await self.film.find(task, self.role)
        self.places[task] = key
        if artifact is not None:
            return Reuse(Rendered(artifact, adopted=True))
        self.film.check_poison(key, self.name(task))
        text = self.texts[task]
        inputs = canonical({"encoder": self.film.kind.encoder, "text": text})
        return Do(PromptJob(self.name(task), key, text, inputs))

    def name(self, task: str) -> str:
        text = self.texts[task]
        return f"prompt {text if len(text) <= 40 else text[:39] + '…'!r}"

    def knows(self, task: str) -> bool:
        return task in self.texts

    def done(self, task: str, output: Rendered, worker: str | None, seconds: float) -> None:
        made = output.artifact
        self.film.embeddings[self.texts[task]] = Embedding(made.key, made.digest)
        if not output.adopted:
            self.film.noting.note(prompt_entry(self.film.kind.encoder), made.key)

    def failed(self, task: str, error: BaseException, blocked: tuple[str, ...]) -> None:
        self.film.unreadable[self.texts[task]] = error

    def poisoned(self, task: str, error: str) -> None:
        self.film.terms.poison.note(self.places[task], self.name(task), "", error)


class Segments(Stage):
    """Tasks are named by recipe."""

    role: Role = "segment"

    def __init__(self, film: FilmWork) -> None:
        super().__init__(film)
        self.keys: dict[str, str] = {}
        self.grid = history_grid(film.plan, film.kind)

    def tasks(self) -> Iterator[Task]:
        for recipe, segment in self.film.segments.items():
            yield Task(recipe, segment.parents, max(segment.flops, 1.0))

    async def resolve(self, task: str) -> Reuse[Rendered] | Do[Job]:
        film, segment = self.film, self.film.segments[task]
        if segment.key is not None:
            return await self._held(segment, segment.key)
        prompt = self._embedding(segment, segment.inputs.prompt)
        negative = self._embedding(segment, segment.inputs.negative)
        # Not on the event loop: a parent that was done long ago is read from the store.
        parents = await asyncio.to_thread(self._parents, segment) if segment.parents else {}
        found = identify(segment, film.segments, parents, prompt, negative, self.grid)
        artifact, key = await film.find(found.key, self.role)
        self.keys[task] = key
        if artifact is not None and await asyncio.to_thread(film.store.reuse, task, artifact):
            return Reuse(Rendered(artifact, adopted=True))
        film.check_poison(key, segment.name)
        media = {c.role: key_of(film.plan, segment, c) for c in segment.inputs.conditions}
        return Do(
            SegmentJob(
                name=segment.name,
                key=key,
                recipe=self._recipe(segment, moved=key != found.key),
                spec=segment.inputs.spec,
                fps=film.plan.fps,
                inputs=found.inputs,
                prompt_key=prompt.key if prompt else None,
                negative_key=negative.key if negative else None,
                history=found.history,
                history_digest=found.history_digest,
                start_key=media.get("start"),
                end_key=media.get("end"),
                clip_key=media.get("clip"),
                keeps_latents=film.plan.keeps_latents,
                tail=film.kind.lattice.overlap,
            )
        )

    async def _held(self, segment: Segment, key: str) -> Reuse[Rendered]:
        """What a held take keeps can only be reused: today's inputs would make something else."""
        film = self.film
        artifact = await film.stored(key)
        if artifact is None:
            raise SegmentError(
                f"{segment.name} is held, but its output {key} is not in the store",
                cure="bring that store back, or release the hold to render it anew",
            )
        self.keys[segment.recipe] = key
        if film.one_class is not None and artifact.numerics != film.one_class.segment.numerics:
            text = f"{segment.name} is held as it is, in the numerics class {artifact.numerics!r}"
            film.emit(Notice(text))
        return Reuse(Rendered(artifact, adopted=True))

    def _recipe(self, segment: Segment, *, moved: bool) -> str:
        """What the index is to know the output by: plans don't count on another place."""
        one_class = self.film.one_class
        if not moved or one_class is None or one_class.segment.numerics is None:
            return segment.recipe
        return variant(segment.recipe, one_class.segment.numerics)

    def _parents(self, segment: Segment) -> dict[str, Artifact]:
        done = self.film.artifacts
        return {each: self.promised.get(each) or done[each] for each in segment.parents}

    def _embedding(self, segment: Segment, text: str) -> Embedding | None:
        if not self.film.kind.embeds_prompts:
            return None
        if text in self.film.unreadable:
            error = self.film.unreadable[text]
            raise SegmentError(f"{segment.name}: its prompt can't be encoded: {error}")
        return self.film.embeddings[text]

    def name(self, task: str) -> str:
        return self.film.segments[task].name

    def knows(self, task: str) -> bool:
        return task in self.film.segments

    def started(self, task: str, worker: str, attempt: int) -> None:
        segment = self.film.segments[task]
        self.film.emit(SegmentStarted(segment.name, segment.shot, self.keys[task], worker, attempt))

    def done(self, task: str, output: Rendered, worker: str | None, seconds: float) -> None:
        film, segment, artifact = self.film, self.film.segments[task], output.artifact
        film.artifacts.put(task, artifact)
        self.promised.pop(task, None)
        if worker is None or output.adopted:
            film.reused.add(task)
        else:
            film.noting.note(timing_entry(segment.inputs), artifact.key)
        place = film.store.address(artifact, FRAMES)
        reused = task in film.reused
        film.emit(
            SegmentDone(
                segment.name, segment.shot, artifact.key, reused, seconds, place, worker or ""
            )
        )

    def failed(self, task: str, error: BaseException, blocked: tuple[str, ...]) -> None:
        segment = self.film.segments[task]
        lost = {task, *blocked}
        self.film.lost |= lost
        missing = self.film.missing(lost)
        failure = ShotFailed(segment.name, segment.shot, str(error), missing, len(blocked))
        self.film.failures.append(failure)
        self.film.emit(failure)

    def poisoned(self, task: str, error: str) -> None:
        segment = self.film.segments[task]
        self.film.terms.poison.note(self.keys[task], segment.name, segment.shot, error)
