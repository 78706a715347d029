"""Plays a scenario with the real dispatcher and measures how well the farm was used."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass

from storyflow.farm.borders import Do, Outcome, Started
from storyflow.farm.dispatch import Dispatcher
from storyflow.farm.graph import Task
from storyflow.farm.retries import Caps, WorkerDied
from storyflow.simulate.clock import run_virtual
from storyflow.simulate.scenario import FilmLoad, Scenario

Job = tuple[int, int, int]
"""Film, shot and segment, counted from 0."""


@dataclass(frozen=True)
class FilmRun:
    """One film: when it came, was begun and done; `share` is its part of the GPU time while other
    films had work too, `fair` what its weight entitled it to."""

    film: int
    arrived: float
    begun: float
    done: float
    share: float | None
    fair: float | None


@dataclass(frozen=True)
class FarmRun:
    """What a scenario came to, in virtual seconds; only `cpu_seconds` are real.

    `lower_bound` is the longest shot's own time or, if greater, all work (what was lost, loading
    and absences included) divided over the GPUs by their speed: no schedule is shorter. `idle` is
    the part of the GPUs' time without work before the tail, which begins when fewer shots are left
    than there are GPUs.
    """

    scenario: Scenario
    makespan: float
    lower_bound: float
    idle: float
    dispatched: int
    lost_seconds: float
    cpu_seconds: float
    films: tuple[FilmRun, ...]

    @property
    def ratio(self) -> float:
        """Makespan over lower bound."""
        return self.makespan / self.lower_bound

    @property
    def per_minute(self) -> float:
        """Segments dispatched in a minute of one processor."""
        return self.dispatched / self.cpu_seconds * 60

    @property
    def meets(self) -> bool:
        """Whether the scenario's bound holds."""
        return self.ratio <= self.scenario.bound


@dataclass(frozen=True)
class _Stint:
    """What a GPU did from `began` to `ended`; `job` is None while it loaded or was away."""

    gpu: int
    began: float
    ended: float
    job: Job | None
    useful: bool


class SimulatedPool:
    """Implements `Pool`: GPUs that sleep through their segments."""

    def __init__(self, scenario: Scenario) -> None:
        self.stints: list[_Stint] = []
        self._scenario = scenario
        self._dice = random.Random(scenario.seed + 1)
        self._taken = [self._lasts() for _ in scenario.speeds]
        self._back = [0.0] * len(scenario.speeds)

    async def workers(self) -> tuple[str, ...]:
        """One for each GPU."""
        return tuple(map(str, range(len(self._scenario.speeds))))

    async def start(self, worker: str, avoid: frozenset[str]) -> Started:
        """Wait until the GPU is back, then load."""
        gpu, began = int(worker), self._now()
        await asyncio.sleep(max(0.0, self._back[gpu] - began) + self._scenario.loading)
        self.stints.append(_Stint(gpu, began, self._now(), None, False))
        return Started("simulated", machine=worker, seconds=self._scenario.loading)

    async def submit(self, worker: str, job: Job, attempt: int) -> Job:
        """Render for as long as the segment takes on this GPU, if nothing happens before."""
        gpu, scenario, began = int(worker), self._scenario, self._now()
        film, shot, segment = job
        ends = began + scenario.shots[film][shot][segment] / scenario.speeds[gpu]
        dies = ends
        if scenario.fails and self._dice.random() < scenario.fails:
            dies = began + (ends - began) * self._dice.random()
        if self._taken[gpu] < dies:
            dies = max(self._taken[gpu], began)
            self._taken[gpu] = dies + scenario.away + self._lasts()
            self._back[gpu] = dies + scenario.away
        await asyncio.sleep(dies - began)
        self.stints.append(_Stint(gpu, began, dies, job, dies == ends))
        if dies < ends:
            raise WorkerDied("lost")
        return job

    def settle(self, worker: str, output: Job) -> Awaitable[Job] | None:
        """Stored a little later, if the scenario says so."""
        if not self._scenario.storing:
            return None
        return asyncio.sleep(self._scenario.storing, output)

    async def release(self, worker: str) -> None:
        """Nothing to unload."""

    async def kill(self, worker: str) -> None:
        """Nothing to kill."""

    async def close(self) -> None:
        """Nothing to end."""

    def _lasts(self) -> float:
        mean = self._scenario.lasts
        return self._now() + self._dice.expovariate(1 / mean) if mean else float("inf")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def simulate(scenario: Scenario) -> FarmRun:
    """Play a scenario to its end. Raises RuntimeError when a film is not finished."""
    began = time.process_time()
    (pool, done), makespan = run_virtual(_play(scenario))
    cpu = time.process_time() - began
    if len(done) < len(scenario.films):
        raise RuntimeError(f"scenario {scenario.name}: a film was not finished")
    lost = sum(stint.ended - stint.began for stint in pool.stints if not stint.useful)
    return FarmRun(
        scenario=scenario,
        makespan=makespan,
        lower_bound=_lower_bound(scenario, pool.stints),
        idle=_idle(scenario, pool.stints),
        dispatched=sum(stint.job is not None for stint in pool.stints),
        lost_seconds=lost,
        cpu_seconds=cpu,
        films=_films(scenario, pool.stints, done),
    )


async def _play(scenario: Scenario) -> tuple[SimulatedPool, dict[int, float]]:
    pool = SimulatedPool(scenario)
    loop = asyncio.get_running_loop()
    done: dict[int, float] = {}
    # Bad luck here is nobody's fault, so nothing is ever given up.
    caps = Caps(task=1000, worker=1000, machine=1000)
    gate = asyncio.Semaphore(scenario.at_once or len(scenario.films))
    async with Dispatcher[Job, Job](pool, caps=caps) as dispatcher:

        async def show(number: int, film: FilmLoad) -> None:
            await asyncio.sleep(film.arrives)
            async with gate:
                outcome = await _film(dispatcher, number, film, scenario.shots[number])
            if outcome.complete:
                done[number] = loop.time()

        await asyncio.gather(*(show(*each) for each in enumerate(scenario.films)))
    return pool, done


async def _film(
    dispatcher: Dispatcher[Job, Job],
    number: int,
    film: FilmLoad,
    shots: tuple[tuple[float, ...], ...],
) -> Outcome:
    jobs = {
        f"{number}/{shot}/{segment}": (number, shot, segment)
        for shot, segments in enumerate(shots)
        for segment in range(len(segments))
    }

    async def resolve(task: str) -> Do[Job]:
        return Do(jobs[task])

    share = dispatcher.share(resolve, weight=film.weight)
    share.add(
        Task(name, (f"{number}/{shot}/{segment - 1}",) if segment else ())
        for name, (_, shot, segment) in jobs.items()
    )
    return await share.done()


def _lower_bound(scenario: Scenario, stints: list[_Stint]) -> float:
    fastest, capacity = max(scenario.speeds), sum(scenario.speeds)
    work = sum(sum(shot) for film in scenario.shots for shot in film)
    lost = sum(scenario.speeds[s.gpu] * (s.ended - s.began) for s in stints if not s.useful)
    # A shot's own failed attempts lengthen its chain, on whatever GPU they were.
    again: Counter[tuple[int, int]] = Counter()
    for stint in stints:
        if stint.job is not None and not stint.useful:
            again[stint.job[:2]] += stint.ended - stint.began  # type: ignore[assignment]
    chains = (
        film.arrives + scenario.loading + sum(shot) / fastest + again[number, index]
        for number, film in enumerate(scenario.films)
        for index, shot in enumerate(scenario.shots[number])
    )
    return max(*chains, (work + lost) / capacity)


def _idle(scenario: Scenario, stints: list[_Stint]) -> float:
    """Part of the GPUs' time before the tail in which they had nothing to do."""
    last: dict[tuple[int, int], float] = defaultdict(float)
    for stint in stints:
        if stint.job is not None and stint.useful:
            last[stint.job[:2]] = max(last[stint.job[:2]], stint.ended)
    ends = sorted(last.values())
    gpus = len(scenario.speeds)
    tail = ends[-gpus] if len(ends) >= gpus else 0.0
    busy = sum(min(s.ended, tail) - s.began for s in stints if s.began < tail)
    return 1 - busy / (gpus * tail) if tail else 0.0


def _busy_until(scenario: Scenario, stints: list[_Stint], film: int) -> float:
    """When a film, which has these stints, no longer has a shot for every GPU that is its due."""
    weights = sum(load.weight for load in scenario.films)
    due = int(len(scenario.speeds) * scenario.films[film].weight / weights)
    ends: dict[int, float] = {}
    for stint in stints:
        if stint.job is not None:
            ends[stint.job[1]] = max(ends.get(stint.job[1], 0.0), stint.ended)
    return sorted(ends.values())[-min(due + 1, len(ends))]


def _films(scenario: Scenario, stints: list[_Stint], done: dict[int, float]) -> tuple[FilmRun, ...]:
    own: dict[int, list[_Stint]] = defaultdict(list)
    for stint in stints:
        if stint.job is not None:
            own[stint.job[0]].append(stint)
    begun = {number: min(s.began for s in own[number]) for number in done}
    busy = {number: _busy_until(scenario, own[number], number) for number in done}
    runs = []
    for number, film in enumerate(scenario.films):
        # All others that overlap with this film, while every one of them has work.
        rivals = [n for n in done if n != number and begun[n] < done[number]]
        rivals = [n for n in rivals if done[n] > begun[number]]
        since = max([begun[number], *(begun[n] for n in rivals)]) + scenario.seconds
        until = min(busy[n] for n in (number, *rivals))
        share = fair = None
        if rivals and until > since:
            had = {
                n: sum(max(min(s.ended, until) - max(s.began, since), 0.0) for s in own[n])
                for n in (number, *rivals)
            }
            share = had[number] / sum(had.values())
            weights = film.weight + sum(scenario.films[n].weight for n in rivals)
            fair = film.weight / weights
        runs.append(FilmRun(number, film.arrives, begun[number], done[number], share, fair))
    return tuple(runs)
