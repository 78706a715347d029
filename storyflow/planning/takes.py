"""The takes of one shot: chains of segments, shared where one take branches off another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from storyflow.errors import Problem
from storyflow.lock import Held, LockedShot, LockedTake
from storyflow.lockfile import planned_takes
from storyflow.planning.facts import changed, facts_of
from storyflow.planning.footage import Footage
from storyflow.planning.keys import segment_recipe
from storyflow.planning.layout import Layout, Needs
from storyflow.planning.legality import count, fault, notice
from storyflow.planning.nodes import Condition, PlannedTake, Segment, SegmentInputs, Span
from storyflow.renderer import ModelKind, SegmentSpec
from storyflow.seeds import segment_seed
from storyflow.slate import make_label
from storyflow.storyboard.resolved import ResolvedShot
from storyflow.timing import Size


@dataclass(frozen=True)
class Script:
    """What is said to the model during one beat."""

    prompt: str
    negative: str


@dataclass(frozen=True)
class ShotPlan:
    """Everything about a shot that its takes have in common.

    `history` is what the first segment continues, `conditions` what it and the segment that ends at
    the cut-out are given, each by segment number. `numbers` are the takes to plan; None is all that
    storyboard and lock ask for.
    """

    shot: ResolvedShot
    entry: LockedShot
    needs: Needs
    layout: Layout
    scripts: tuple[Script, ...]
    history: tuple[Span, ...] = ()
    conditions: tuple[tuple[int, Condition], ...] = ()
    numbers: tuple[int, ...] | None = None


class Takes:
    """Plans takes for one model kind, frame size and pipeline."""

    def __init__(self, kind: ModelKind, size: Size, pipeline: str) -> None:
        self._kind = kind
        self._size = size
        self._pipeline = pipeline
        self._overlap = kind.lattice.overlap
        self._flops: dict[tuple[int, int], float] = {}

    def plan(self, shot: ShotPlan) -> tuple[list[PlannedTake], list[Problem]]:
        """All takes of a shot in the order of their numbers, and the faults and notices found."""
        locked = {take.take: take for take in shot.entry.takes}
        numbers = shot.numbers or planned_takes(shot.shot, shot.entry)
        takes: dict[int, PlannedTake] = {}
        problems: list[Problem] = []
        for number in _sources_first(numbers, locked):
            take = locked.get(number)
            if take is None or (take.branch is not None and take.branch.take not in takes):
                what = f"take {number} branches off a take that the lock does not have"
                problems.append(fault(shot.shot, "lost-branch", what, cure="choose another take"))
                continue
            shared = takes[take.branch.take].segments if take.branch is not None else ()
            if take.branch is not None and take.branch.segments > len(shared):
                what = (
                    f"take {number} shares {take.branch.segments} segments with take "
                    f"{take.branch.take}, which has {len(shared)} now"
                )
                problems.append(notice(shot.shot, "short-branch", what))
            held = shot.entry.held
            if held is not None and (held.take, held.pipeline) == (number, self._pipeline):
                takes[number], found = self._held(shot, take, held)
                problems += found
                continue
            kept = shared[: take.branch.segments] if take.branch is not None else ()
            takes[number] = PlannedTake(
                shot=shot.shot,
                take=number,
                seed=take.seed,
                segments=self._chain(shot, take, kept),
                head=shot.layout.head,
                frames=shot.layout.frames,
                slip=shot.layout.slip,
            )
        return [takes[number] for number in sorted(takes)], problems

    def _chain(
        self, shot: ShotPlan, take: LockedTake, shared: Sequence[Segment]
    ) -> tuple[Segment, ...]:
        chain = list(shared)
        footage = Footage(chain, shot.history)
        start = chain[-1].stop if chain else 0
        index = 0
        for beat, lengths in enumerate(shot.layout.beats):
            for new in lengths:
                if index >= len(shared):
                    fresh = shot.needs.fresh and index == 0
                    inputs = self._inputs(shot, take, index, beat, start, new, fresh)
                    history = (
                        () if fresh or not (chain or shot.history) else footage.last(self._overlap)
                    )
                    chain.append(
                        Segment(
                            recipe=segment_recipe(inputs, history),
                            shot=shot.shot.id,
                            take=take.take,
                            index=index,
                            beat=beat,
                            start=start,
                            inputs=inputs,
                            history=history,
                            flops=self._cost(inputs.spec.window, inputs.spec.overlap),
                        )
                    )
                    start += new
                index += 1
        return tuple(chain)

    def _inputs(
        self,
        shot: ShotPlan,
        take: LockedTake,
        index: int,
        beat: int,
        start: int,
        new: int,
        fresh: bool,
    ) -> SegmentInputs:
        overlap = 0 if fresh else self._overlap
        label = ""
        if self._kind.draws_labels:
            label = make_label(shot.shot.id, beat, shot.shot.beats[beat].do, start)
        return SegmentInputs(
            model=self._kind.identity,
            pixel_fields=self._kind.pixel_fields,
            prompt=shot.scripts[beat].prompt,
            negative=shot.scripts[beat].negative,
            spec=SegmentSpec(
                width=self._size.width,
                height=self._size.height,
                window=new + overlap,
                overlap=overlap,
                seed=segment_seed(take.seed, take.take, index),
                label=label,
            ),
            conditions=_at(index, shot.conditions),
        )

    def _held(
        self, shot: ShotPlan, take: LockedTake, held: Held
    ) -> tuple[PlannedTake, list[Problem]]:
        """An approved take as it was stored; a fault where it is too short for the cut."""
        first = shot.layout.beats[0][0]
        inputs = self._inputs(shot, take, 0, 0, 0, first, shot.needs.fresh)
        conditions = [condition for _, condition in shot.conditions]
        facts = facts_of(shot.shot, inputs, shot.history, conditions, take.seed)
        stale = changed(held.facts, facts)
        text = f"held, stale: {', '.join(stale)}" if stale else "held"
        segments: list[Segment] = []
        start = 0
        lengths = [(beat, new) for beat, beats in enumerate(held.windows) for new in beats]
        for index, ((beat, new), key) in enumerate(zip(lengths, held.keys, strict=False)):
            beat = min(beat, len(shot.scripts) - 1)
            inputs = self._inputs(
                shot, take, index, beat, start, new, shot.needs.fresh and index == 0
            )
            recipe = hashlib.sha256(f"held {key}".encode()).hexdigest()
            segments.append(
                Segment(recipe, shot.shot.id, take.take, index, beat, start, inputs, key=key)
            )
            start += new
        slip = max(0, shot.needs.head - held.head)
        planned = PlannedTake(
            shot=shot.shot,
            take=take.take,
            seed=take.seed,
            segments=tuple(segments),
            head=held.head + slip,
            frames=shot.layout.frames,
            held=text,
            slip=slip,
        )
        problems = []
        if stale:
            problems.append(notice(shot.shot, "held", text))
        missing = planned.head + planned.frames + shot.shot.out.after - start
        if missing > 0:
            what = f"the held take is {count(missing, 'frame')} too short"
            release = f"storyflow hold {shot.shot.id} --release"
            cure = f"shorten the shot or its transition, or release it: {release}"
            problems.append(fault(shot.shot, "held-too-short", what, cure=cure))
        return planned, problems

    def _cost(self, window: int, overlap: int) -> float:
        lengths = (window, overlap)
        if lengths not in self._flops:
            self._flops[lengths] = self._kind.cost(window, overlap).flops
        return self._flops[lengths]


def _at(index: int, conditions: Sequence[tuple[int, Condition]]) -> tuple[Condition, ...]:
    return tuple([c for number, c in conditions if number == index]) if conditions else ()


def _sources_first(numbers: Sequence[int], locked: dict[int, LockedTake]) -> list[int]:
    """Takes in an order in which a branch comes after what it branches off.

    A circle, which only a lock edited by hand can hold, ends up in any order.
    """
    ordered: list[int] = []

    def add(number: int, above: frozenset[int]) -> None:
        take = locked.get(number)
        if take is not None and take.branch is not None:
            source = take.branch.take
            if source in numbers and source not in above and source not in ordered:
                add(source, above | {number})
        if number not in ordered:
            ordered.append(number)

    for number in numbers:
        add(number, frozenset({number}))
    return ordered
