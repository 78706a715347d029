"""Render a plan: the author's pictures and clips are read into the store, then prompts are
encoded, then segments rendered, each as soon as its history is in the store.

A segment's key is known when its parents' pixels are. Then the store is asked, and only what it
lacks becomes a job. Nothing but hashes and paths passes through here.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from storyflow.errors import DamagedError, SegmentError, StoreError
from storyflow.events import (
    Event,
    Notice,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    Spent,
    WorkerLost,
    WorkerReady,
)
from storyflow.farm.borders import (
    Do,
    OtherOutput,
    Outcome,
    Reuse,
    Started,
    TaskDone,
    TaskFailed,
    TaskPromised,
    TaskRetried,
    TaskStarted,
    WorkerDown,
    WorkerUp,
)
from storyflow.farm.dispatch import Dispatcher
from storyflow.farm.graph import Task
from storyflow.farm.identify import history_grid, identify
from storyflow.farm.jobs import Job, PromptJob, Rendered, Role, SegmentJob
from storyflow.farm.media import store_source
from storyflow.farm.oneclass import OneClass, variant
from storyflow.farm.pools import Farm, WorkerPool
from storyflow.farm.progress import telling_steps
from storyflow.farm.retries import WorkerDied
from storyflow.farm.timings import prompt_entry, timing_entry
from storyflow.planning.keys import canonical, prompt_key
from storyflow.planning.nodes import Plan, Segment
from storyflow.planning.sources import key_of, sources
from storyflow.renderer import ModelKind
from storyflow.store.artifacts import FRAMES, Artifact
from storyflow.store.store import Store

Emit = Callable[[Event], None]

POLL_SECONDS = 0.5
"""How often busy workers are asked for their progress."""


@dataclass(frozen=True)
class FarmReport:
    """What rendering came to. `artifacts` are by recipe, `reused` are recipes.

    `missing` are the shots of the cut that lack a segment because something failed, in cut order.
    """

    artifacts: Mapping[str, Artifact]
    reused: frozenset[str] = frozenset()
    failures: tuple[ShotFailed, ...] = ()
    missing: tuple[str, ...] = ()
    spent: Spent = field(default_factory=lambda: Spent(0.0, 0.0))

    @property
    def rendered(self) -> int:
        """Segments that were rendered now."""
        return len(self.artifacts) - len(self.reused)


async def render_plan(
    plan: Plan,
    kind: ModelKind,
    store: Store,
    farm: Farm,
    emit: Emit,
    *,
    only: frozenset[str] | None = None,
    poll: float = POLL_SECONDS,
    one_class: OneClass | None = None,
) -> FarmReport:
    """Bring every segment of the plan (or `only` these recipes and what they continue) into the
    store, and tell `emit` about it.

    A segment that fails for good stops what hangs on it and nothing else. Raises StoreError and
    FarmError when store or workers break down, ModelError when the model can't be loaded; what was
    finished until then is in the store. Raises StoryboardError, before anything is rendered, for a
    picture or clip that can't be read. Cancelling stops at once. With `one_class` outputs of other
    numerics classes are not reused, and workers of others refused.
    """
    wanted = plan.segments if only is None else plan.with_history(only)
    segments = {segment.recipe: segment for segment in wanted}
    film = _Film(plan, kind, store, emit, segments, one_class)
    for source in sources(plan, wanted):
        if await film.stored(source.key) is None:
            await asyncio.to_thread(store_source, store, source)
    spent = [Spent(0.0, 0.0)]
    if kind.embeds_prompts:
        outcome = await _drive(farm, _Prompts(film), poll)
        spent.append(Spent(outcome.worker_seconds, outcome.useful_seconds))
    outcome = await _drive(farm, _Segments(film), poll)
    spent.append(Spent(outcome.worker_seconds, outcome.useful_seconds))
    return FarmReport(
        artifacts=film.artifacts,
        reused=frozenset(film.reused),
        failures=tuple(film.failures),
        missing=film.missing(film.lost),
        spent=_sum(spent, farm.price),
    )


def _sum(parts: Iterable[Spent], price: float | None) -> Spent:
    parts = tuple(parts)
    seconds = sum(part.worker_seconds for part in parts)
    useful = sum(part.useful_seconds for part in parts)
    return Spent(seconds, useful, None if price is None else price * seconds / 3600)


class _Film:
    """What both stages know and find out."""

    def __init__(
        self,
        plan: Plan,
        kind: ModelKind,
        store: Store,
        emit: Emit,
        segments: dict[str, Segment],
        one_class: OneClass | None = None,
    ) -> None:
        self.plan, self.kind, self.store, self.emit = plan, kind, store, emit
        self.one_class = one_class
        self.segments = segments
        self.embeddings: dict[str, Artifact] = {}
        self.unreadable: dict[str, BaseException] = {}
        self.artifacts: dict[str, Artifact] = {}
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

    def missing(self, lost: set[str]) -> tuple[str, ...]:
        """The shots of the cut whose take contains one of these recipes."""
        shots = []
        for entry in self.plan.cut:
            take = self.plan.take(entry.shot, entry.take)
            if any(segment.recipe in lost for segment in take.segments):
                shots.append(entry.shot)
        return tuple(dict.fromkeys(shots))


class _Stage:
    """One dispatcher's work: its tasks, what each comes to, and what to tell about it."""

    role: Role

    def __init__(self, film: _Film) -> None:
        self.film = film
        self.promised: dict[str, Artifact] = {}

    def tasks(self) -> Iterator[Task]:
        raise NotImplementedError

    async def resolve(self, task: str) -> Reuse[Rendered] | Do[Job]:
        raise NotImplementedError

    def name(self, task: str) -> str:
        raise NotImplementedError

    def watch(self, event: object) -> None:
        """Translate what the dispatcher tells into the run's events."""
        match event:
            case WorkerUp(worker=worker, numerics=numerics):
                self.film.emit(WorkerReady(worker, numerics))
            case WorkerDown(worker=worker, task=task, cause=cause):
                self.film.emit(WorkerLost(worker, self.name(task) if task else None, cause))
            case TaskRetried(task=task, attempt=attempt, error=error):
                if not isinstance(error, WorkerDied):
                    text = f"{self.name(task)} failed in attempt {attempt} ({error}); trying again"
                    self.film.emit(Notice(text))
            case TaskStarted(task=task, worker=worker, attempt=attempt):
                self.started(task, worker, attempt)
            case TaskPromised(task=task, output=Rendered() as output):
                self.promised[task] = output.artifact
            case TaskDone(task=task, output=Rendered() as output, worker=worker, seconds=seconds):
                self.done(task, output, worker is None, seconds)
            case TaskFailed(task=task, error=error, blocked=blocked):
                self.failed(task, error, blocked)

    def started(self, task: str, worker: str, attempt: int) -> None:
        """A worker began."""

    def done(self, task: str, output: Rendered, before: bool, seconds: float) -> None:
        raise NotImplementedError

    def failed(self, task: str, error: BaseException, blocked: tuple[str, ...]) -> None:
        raise NotImplementedError


class _Prompts(_Stage):
    """Every text once; tasks are named by the text's key."""

    role: Role = "prompt"

    def __init__(self, film: _Film) -> None:
        super().__init__(film)
        inputs = [segment.inputs for segment in film.segments.values() if segment.key is None]
        texts = dict.fromkeys(text for i in inputs for text in (i.prompt, i.negative))
        self.texts = {prompt_key(film.kind.encoder, text): text for text in texts}

    def tasks(self) -> Iterator[Task]:
        for key in self.texts:
            yield Task(key)

    async def resolve(self, task: str) -> Reuse[Rendered] | Do[Job]:
        artifact, key = await self.film.find(task, self.role)
        if artifact is not None:
            return Reuse(Rendered(artifact, adopted=True))
        text = self.texts[task]
        inputs = canonical({"encoder": self.film.kind.encoder, "text": text})
        return Do(PromptJob(self.name(task), key, text, inputs))

    def name(self, task: str) -> str:
        text = self.texts[task]
        return f"prompt {text if len(text) <= 40 else text[:39] + '…'!r}"

    def done(self, task: str, output: Rendered, before: bool, seconds: float) -> None:
        self.film.embeddings[self.texts[task]] = output.artifact
        if not output.adopted:
            self.film.store.remember(prompt_entry(self.film.kind.encoder), output.artifact.key)

    def failed(self, task: str, error: BaseException, blocked: tuple[str, ...]) -> None:
        self.film.unreadable[self.texts[task]] = error


class _Segments(_Stage):
    """Tasks are named by recipe."""

    role: Role = "segment"

    def __init__(self, film: _Film) -> None:
        super().__init__(film)
        self.keys: dict[str, str] = {}
        self.known = ChainMap(self.promised, film.artifacts)
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
        found = identify(segment, film.segments, self.known, prompt, negative, self.grid)
        artifact, key = await film.find(found.key, self.role)
        self.keys[task] = key
        if artifact is not None and await asyncio.to_thread(film.store.reuse, task, artifact):
            return Reuse(Rendered(artifact, adopted=True))
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

    def _embedding(self, segment: Segment, text: str) -> Artifact | None:
        if not self.film.kind.embeds_prompts:
            return None
        if text in self.film.unreadable:
            error = self.film.unreadable[text]
            raise SegmentError(f"{segment.name}: its prompt can't be encoded: {error}")
        return self.film.embeddings[text]

    def name(self, task: str) -> str:
        return self.film.segments[task].name

    def started(self, task: str, worker: str, attempt: int) -> None:
        segment = self.film.segments[task]
        self.film.emit(SegmentStarted(segment.name, segment.shot, self.keys[task], worker, attempt))

    def done(self, task: str, output: Rendered, before: bool, seconds: float) -> None:
        film, segment, artifact = self.film, self.film.segments[task], output.artifact
        film.artifacts[task] = artifact
        self.promised.pop(task, None)
        if before or output.adopted:
            film.reused.add(task)
        else:
            film.store.remember(timing_entry(segment.inputs), artifact.key)
        path = film.store.address(artifact, FRAMES)
        film.emit(
            SegmentDone(
                segment.name, segment.shot, artifact.key, task in film.reused, seconds, path
            )
        )

    def failed(self, task: str, error: BaseException, blocked: tuple[str, ...]) -> None:
        segment = self.film.segments[task]
        lost = {task, *blocked}
        self.film.lost |= lost
        failure = ShotFailed(segment.name, segment.shot, str(error), self.film.missing(lost))
        self.film.failures.append(failure)
        self.film.emit(failure)


class _VerifiedPool:
    """A pool whose outputs count only when this process, too, finds them whole in the store.

    In a run that is held to one numerics class, workers and outputs of others don't count either.
    """

    def __init__(self, pool: WorkerPool, film: _Film, role: Role) -> None:
        self._pool, self._film = pool, film
        self._hold = None if film.one_class is None else film.one_class.of(role)
        self.workers, self.release = pool.workers, pool.release
        self.kill, self.close, self.progress = pool.kill, pool.close, pool.progress

    async def start(self, worker: str, avoid: frozenset[str]) -> Started:
        started = await self._pool.start(worker, avoid)
        if self._hold is not None:
            self._hold.check(worker, started.numerics)
        return started

    async def submit(self, worker: str, job: Job, attempt: int) -> Rendered:
        rendered = await self._pool.submit(worker, job, attempt)
        if not rendered.settled:
            return rendered
        await self._verify(worker, rendered)
        if self._hold is not None and not self._hold.accepts(rendered.artifact.numerics):
            # Another run has stored its own output here since this one looked.
            return await self.submit(worker, self._hold.moved(job), attempt)
        return rendered

    def settle(self, worker: str, output: Rendered) -> Awaitable[Rendered] | None:
        storing = self._pool.settle(worker, output)
        return None if storing is None else self._settled(worker, output, storing)

    async def _settled(
        self, worker: str, promised: Rendered, storing: Awaitable[Rendered]
    ) -> Rendered:
        rendered = await storing
        await self._verify(worker, rendered)
        if self._hold is not None and not self._hold.accepts(rendered.artifact.numerics):
            raise RuntimeError("another run stored its own output here, of another numerics class")
        made, stored = promised.artifact, rendered.artifact
        if (made.digest, made.latents) != (stored.digest, stored.latents):
            raise OtherOutput(rendered)
        return rendered

    async def _verify(self, worker: str, rendered: Rendered) -> None:
        if await self._film.stored(rendered.artifact.key) is None:
            raise StoreError(
                f"{worker} stored {rendered.artifact.key}, but it is not in {self._film.store} "
                "here",
                cure="name a store that this machine and all workers see as the same",
            )


async def _drive(farm: Farm, stage: _Prompts | _Segments, poll: float) -> Outcome[Rendered]:
    """Run one stage on a pool of its own, which ends with it."""
    film = stage.film
    workers = farm.pool(stage.role, lambda text: film.emit(Notice(text)))
    pool = _VerifiedPool(workers, film, stage.role)
    try:
        async with (
            Dispatcher[Job, Rendered](pool, caps=farm.caps, watch=stage.watch) as dispatcher,
            telling_steps(dispatcher.busy, pool.progress, stage.name, film.emit, poll),
        ):
            share = dispatcher.share(stage.resolve, watch=stage.watch)
            share.add(stage.tasks())
            outcome = await share.done()
    finally:
        await pool.close()
    if outcome.error is not None:
        raise outcome.error
    return outcome
