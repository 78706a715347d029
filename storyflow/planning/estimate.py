"""What a plan costs before anything is rendered, and what of it a store already has."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass

from storyflow.planning.finish import Account, Estimate
from storyflow.planning.nodes import Plan, PlannedTake, Segment
from storyflow.renderer import CardFit, ModelKind
from storyflow.storyboard.resolved import Mode
from storyflow.timing import nominal


@dataclass(frozen=True)
class Prediction:
    """Recipes of the segments that will be reused, and of those that will be rendered."""

    reuse: frozenset[str]
    render: frozenset[str]


@dataclass(frozen=True)
class Totals:
    """A plan in numbers. `chain` is the longest chain of segments that must wait for each other.

    `flops` are floating-point operations of denoising; the `render_` ones leave out what is reused.
    """

    shots: int
    frames: int
    generated: int
    segments: int
    reuse: int
    render: int
    flops: float
    render_flops: float
    chain: int
    chain_flops: float
    render_chain: int
    render_chain_flops: float


@dataclass(frozen=True)
class PlanRow:
    """One take in the table of a plan. `shown` says whether the cut uses it.

    `frames` is screen time in frames, `generated` what is rendered for it, `reuse` and `render`
    count segments, shared ones with the first take that has them. `prompts` has one text per beat.
    """

    shot: str
    take: int
    shown: bool
    mode: Mode
    seconds: float
    frames: int
    generated: int
    segments: int
    reuse: int
    render: int
    flops: float
    render_flops: float
    prompts: tuple[str, ...]
    held: str | None = None

    @property
    def prompt(self) -> str:
        """The first beat's prompt."""
        return self.prompts[0]

    @property
    def action(self) -> str:
        """What becomes of its segments: held, reuse, render, or `reuse 3, render 2`."""
        if self.held is not None:
            return self.held
        if not self.render:
            return "reuse"
        return f"reuse {self.reuse}, render {self.render}" if self.reuse else "render"


@dataclass(frozen=True)
class Quote:
    """The table of a plan and its totals, as `storyflow plan` prints them.

    `memory` says on which graphics cards its longest window, of `window` frames, can be rendered;
    empty for kinds of models that need none. `estimate` is what is left to render, in time and
    money, `last` what the film's last run came to.
    """

    title: str
    pipeline: str
    frame: str
    fps: str
    rows: tuple[PlanRow, ...]
    totals: Totals
    notices: tuple[str, ...]
    window: int = 0
    memory: tuple[CardFit, ...] = ()
    estimate: Estimate | None = None
    last: Account | None = None

    def as_data(self) -> dict[str, object]:
        """The same as values for JSON."""
        data = asdict(self)
        for row, made in zip(data["rows"], self.rows, strict=True):
            row["action"] = made.action
        for row, fit in zip(data["memory"], self.memory, strict=True):
            row["text"] = fit.text
        return {"storyflow": 1, **data}


def predict(plan: Plan, stored: Container[str]) -> Prediction:
    """What a run would reuse and render; `stored` has the recipes that the store has.

    On an undamaged store within one numerics class a run renders no more than this. It may render
    less: a segment whose history comes out with the same pixels as before is found by its key.
    """
    reuse = {s.recipe for s in plan.segments if s.key is not None or s.recipe in stored}
    return Prediction(
        frozenset(reuse), frozenset(s.recipe for s in plan.segments if s.recipe not in reuse)
    )


def totals(plan: Plan, prediction: Prediction) -> Totals:
    """The plan in numbers; each shared segment counts once."""
    segments = plan.segments
    render = [s for s in segments if s.recipe in prediction.render]
    chain, chain_flops = _longest_chain(segments)
    render_chain, render_chain_flops = _longest_chain(render)
    return Totals(
        shots=len({entry.shot for entry in plan.cut}),
        frames=plan.frames,
        generated=sum(s.inputs.spec.new for s in segments),
        segments=len(segments),
        reuse=len(segments) - len(render),
        render=len(render),
        flops=sum(s.flops for s in segments),
        render_flops=sum(s.flops for s in render),
        chain=chain,
        chain_flops=chain_flops,
        render_chain=render_chain,
        render_chain_flops=render_chain_flops,
    )


def plan_rows(plan: Plan, prediction: Prediction) -> tuple[PlanRow, ...]:
    """One row per take, in the order of the film."""
    shown: dict[tuple[str, int], int] = {}
    for entry in plan.cut:
        name = (entry.shot, entry.take)
        shown[name] = shown.get(name, 0) + entry.stop - entry.start
    counted: set[str] = set()
    rows = []
    for take in plan.takes:
        own = [s for s in take.segments if s.recipe not in counted]
        counted.update(s.recipe for s in own)
        render = [s for s in own if s.recipe in prediction.render]
        rows.append(
            PlanRow(
                shot=take.shot.id,
                take=take.take,
                shown=(take.shot.id, take.take) in shown,
                mode=take.mode,
                seconds=shown.get((take.shot.id, take.take), take.frames) / nominal(plan.fps),
                frames=shown.get((take.shot.id, take.take), take.frames),
                generated=take.generated,
                segments=len(take.segments),
                reuse=len(take.segments) - len(render),
                render=len(render),
                flops=sum(s.flops for s in take.segments),
                render_flops=sum(s.flops for s in render),
                prompts=_prompts(take),
                held=take.held,
            )
        )
    return tuple(rows)


def quote_of(
    plan: Plan,
    prediction: Prediction,
    kind: ModelKind,
    estimate: Estimate | None = None,
    last: Account | None = None,
) -> Quote:
    """Table and totals of a plan, and the memory that its kind of model needs for it."""
    window = max((segment.inputs.spec.window for segment in plan.segments), default=0)
    return Quote(
        title=plan.title,
        pipeline=plan.pipeline,
        frame=str(plan.size),
        fps=str(plan.fps),
        rows=plan_rows(plan, prediction),
        totals=totals(plan, prediction),
        notices=tuple(map(str, plan.notices)),
        window=window,
        memory=kind.memory(window) if kind.memory is not None and window else (),
        estimate=estimate,
        last=last,
    )


def _prompts(take: PlannedTake) -> tuple[str, ...]:
    by_beat = {segment.beat: segment.inputs.prompt for segment in take.segments}
    return tuple(by_beat[beat] for beat in sorted(by_beat))


def _longest_chain(segments: Iterable[Segment]) -> tuple[int, float]:
    """(segments, operations) of the costliest chain; parents outside `segments` cost nothing."""
    reached: dict[str, tuple[float, int]] = {}
    pending = {segment.recipe: segment for segment in segments}
    for first in pending.values():
        stack = [first]
        while stack:
            segment = stack[-1]
            if segment.recipe in reached:
                stack.pop()
                continue
            waiting = [p for p in segment.parents if p in pending and p not in reached]
            if waiting:
                stack += [pending[p] for p in waiting]
                continue
            before = max((reached[p] for p in segment.parents if p in reached), default=(0.0, 0))
            reached[segment.recipe] = (before[0] + segment.flops, before[1] + 1)
            stack.pop()
    flops, count = max(reached.values(), default=(0.0, 0))
    return count, flops
