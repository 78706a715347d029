"""When a film will be finished and what it will cost, before anything is rendered.

`Timings` say how long one segment takes: means of what the store has of the same model, settings
and frame size, else operations at an assumed speed. `estimate` sends the segments through as many
workers, longest remaining chain first, as the farm does, so that no number of workers makes it
shorter than its longest chain.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from storyflow.planning.nodes import Segment

GPU_SPEED = 3e14
"""Operations a second assumed of a GPU worker: SkyReels-V2 at half a frame a second on one H100."""

CPU_SPEED = 2e10
"""Operations a second assumed of one CPU thread: the toybox on one core with AVX-512."""


SOME_WORKERS = (1, 2, 4, 8, 16, 64)
"""Numbers of workers that an estimate is given for, as far as more of them help."""


@dataclass(frozen=True)
class Timing:
    """What segments of one length took: the mean of `count` of them. `flops` is of one."""

    window: int
    overlap: int
    seconds: float
    count: int
    flops: float = 0.0


@dataclass(frozen=True)
class Start:
    """What passes before anything is loaded, in seconds: the median of `count` runs.

    `farm` until the farm can be asked for workers (Ray's own start), `worker` until the first
    worker's process is there.
    """

    farm: float
    worker: float
    count: int = 0


@dataclass(frozen=True)
class Timings:
    """How long things take on one worker of one numerics class.

    `setup` is loading the model, `prompt` encoding one text, `prompt_setup` loading the text
    encoder, in seconds. Without `lengths`, `speed` is assumed, in operations a second; 0 where
    operations say nothing about the time (the slate). `start` is None where nobody has measured
    how long the farm takes.
    """

    lengths: tuple[Timing, ...] = ()
    numerics: str = ""
    setup: float = 0.0
    prompt: float = 0.0
    prompt_setup: float = 0.0
    speed: float = 0.0
    start: Start | None = None

    def seconds(self, segment: Segment) -> float:
        """How long a segment will take; 0 where nothing is known."""
        spec = segment.inputs.spec
        for timing in self.lengths:
            if (timing.window, timing.overlap) == (spec.window, spec.overlap):
                return timing.seconds
        if self.lengths:
            # Another length: by its operations, or where nobody counts those, by its frames.
            near = min(self.lengths, key=lambda t: abs(t.window - spec.window))
            if near.flops and segment.flops:
                return near.seconds * segment.flops / near.flops
            return near.seconds * spec.new / (near.window - near.overlap)
        return segment.flops / self.speed if self.speed else 0.0

    @property
    def source(self) -> str:
        """Where the figures come from, for people."""
        if self.lengths:
            count = sum(timing.count for timing in self.lengths)
            timings = "1 timing" if count == 1 else f"{count} timings"
            return f"{timings} in the store, {self.numerics or 'numerics class unknown'}"
        if self.speed:
            return f"assumed {self.speed / 1e12:g} TFLOP/s a worker; no timings in the store yet"
        return "nothing: no timings in the store yet"


@dataclass(frozen=True)
class Finish:
    """How long rendering takes with so many workers, in seconds."""

    workers: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """What is left to render, in time and money.

    `gpu_seconds` are worker seconds times the GPUs of a worker (a worker without any counts as
    one), loading included and, where the number of workers is known, their waiting for work.
    `chain_seconds` is the longest chain: no number of workers is faster. `finish` has several
    numbers of workers, `workers` and `seconds` those asked for; both None where nobody said how
    many. `timed` says whether the store's own timings were used. All of them but `gpu_seconds`
    contain `start_seconds`, in which the farm and its workers come up and nothing is held yet;
    where that is None nobody has measured it, and it is in none.
    """

    segments: int
    prompts: int
    gpu_seconds: float
    chain_seconds: float
    finish: tuple[Finish, ...]
    source: str
    timed: bool
    workers: int | None = None
    seconds: float | None = None
    money: float | None = None
    currency: str = ""
    start_seconds: float | None = None

    @property
    def gpu_hours(self) -> float:
        """The same in hours."""
        return self.gpu_seconds / 3600


@dataclass(frozen=True)
class Account:
    """What one run took, beside what was estimated.

    `began` is ISO 8601. `seconds` is the time until all segments were decided, `gpu_seconds` what
    workers and language models were held, loading and failures included, `useful_seconds` what
    ended in stored segments; both None where the run was cut short.
    """

    began: str
    estimate: Estimate | None
    rendered: int = 0
    reused: int = 0
    seconds: float | None = None
    gpu_seconds: float | None = None
    useful_seconds: float | None = None
    money: float | None = None


def estimate(
    segments: Iterable[Segment],
    prompts: int,
    timings: Timings,
    *,
    workers: int | None = None,
    gpus: float = 1.0,
    price: float | None = None,
    currency: str = "",
    idle: float = 0.0,
) -> Estimate:
    """The cost of rendering these segments and encoding so many texts.

    `gpus` are those of one worker, `price` is money per GPU-hour. Workers that have nothing to do
    are held, and paid for, for `idle` seconds.
    """
    left = _Work(segments, timings.seconds)
    count = len(left.seconds)
    before = timings.prompt_setup + prompts * timings.prompt if prompts else 0.0
    # Encoders go before renderers come, so each has a start of its own.
    start = timings.start or Start(0.0, 0.0)
    pools = bool(prompts) + bool(count)
    starting = start.farm + pools * start.worker if pools else 0.0

    @cache
    def wall(number: int) -> float:
        return starting + before + (timings.setup + left.makespan(number) if count else 0.0)

    chain = wall(count)
    numbers = sorted({*SOME_WORKERS, workers or 1}) if count else []
    finish: list[Finish] = []
    for number in numbers:
        shortest = bool(finish) and finish[-1].seconds <= chain * 1.001
        if number == workers or not shortest:
            finish.append(Finish(number, wall(number)))
    loads = min(workers or 1, left.width) * timings.setup if count else 0.0
    waiting = left.idle(workers, idle) if workers is not None else 0.0
    total = (sum(left.seconds) + loads + waiting + before) * gpus
    return Estimate(
        segments=count,
        prompts=prompts,
        gpu_seconds=total,
        chain_seconds=chain,
        finish=tuple(finish),
        source=timings.source,
        timed=bool(timings.lengths),
        workers=workers,
        seconds=None if workers is None else wall(workers),
        money=None if price is None else price * total / 3600,
        currency=currency if price is not None else "",
        start_seconds=None if timings.start is None else starting,
    )


class _Work:
    """Segments by number, their seconds and what waits for what; parents outside are there."""

    def __init__(self, segments: Iterable[Segment], seconds: Callable[[Segment], float]) -> None:
        unique = {segment.recipe: segment for segment in segments}
        number = {recipe: n for n, recipe in enumerate(unique)}
        self.seconds = [seconds(segment) for segment in unique.values()]
        self.parents = [
            [number[parent] for parent in segment.parents if parent in number]
            for segment in unique.values()
        ]
        self.children: list[list[int]] = [[] for _ in unique]
        for child, parents in enumerate(self.parents):
            for parent in parents:
                self.children[parent].append(child)
        self.rank = self._ranks()

    @property
    def width(self) -> int:
        """At most as many workers are ever of use."""
        return max(1, sum(not parents for parents in self.parents))

    def makespan(self, workers: int) -> float:
        """Seconds until all is done: list scheduling, the longest remaining chain first."""
        if workers == 1:
            return sum(self.seconds)
        if workers >= len(self.seconds):
            return max(self.rank, default=0.0)
        return self._play(workers)[0]

    def idle(self, workers: int, limit: float) -> float:
        """Worker-seconds without work, of each gap at most `limit`: then the worker is let go."""
        return sum(min(gap, limit) for gap in self._play(workers)[1])

    def _play(self, workers: int) -> tuple[float, list[float]]:
        """Seconds until all is done, and every gap in which a worker had nothing to do."""
        free: list[float] = []
        gaps: list[float] = []
        waiting = [len(parents) for parents in self.parents]
        ready = [(-self.rank[n], n) for n, count in enumerate(waiting) if not count]
        heapq.heapify(ready)
        running: list[tuple[float, int]] = []
        now = 0.0
        while ready or running:
            while ready and len(running) < workers:
                _, begun = heapq.heappop(ready)
                if free:
                    gaps.append(now - free.pop())
                heapq.heappush(running, (now + self.seconds[begun], begun))
            now, done = heapq.heappop(running)
            free.append(now)
            for child in self.children[done]:
                waiting[child] -= 1
                if not waiting[child]:
                    heapq.heappush(ready, (-self.rank[child], child))
        return now, gaps + [now - since for since in free]

    def _ranks(self) -> list[float]:
        """Each segment's seconds and those of the longest chain behind it, children first."""
        rank = [0.0] * len(self.seconds)
        waiting = [len(children) for children in self.children]
        leaves = [n for n, count in enumerate(waiting) if not count]
        while leaves:
            done = leaves.pop()
            behind = max((rank[child] for child in self.children[done]), default=0.0)
            rank[done] = self.seconds[done] + behind
            for parent in self.parents[done]:
                waiting[parent] -= 1
                if not waiting[parent]:
                    leaves.append(parent)
        return rank
