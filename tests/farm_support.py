"""Plans, kinds and farms for the farm's tests, small enough for thousands of runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storyflow.cluster import Cluster
from storyflow.events import Event
from storyflow.farm.address import open_farm
from storyflow.farm.render import FarmReport, render_plan
from storyflow.farm.terms import Terms
from storyflow.pipeline import Profile
from storyflow.planning.keys import segment_recipe
from storyflow.planning.nodes import CutEntry, Plan, PlannedTake, Segment, SegmentInputs, Span
from storyflow.renderer import Cost, Given, ModelKind, SegmentSpec, Sink
from storyflow.slate import SlateRenderer, make_label
from storyflow.store.store import Store
from storyflow.storyboard.resolved import ResolvedShot
from storyflow.timing import Size

SIZE = Size(64, 48)
FRESH, NEW, OVERLAP = 9, 8, 5


@dataclass(frozen=True)
class TinyLattice:
    overlap: int = OVERLAP
    grid: int = 4

    def new_frames(self, *, fresh: bool) -> range:
        return range(OVERLAP, FRESH + 1, 4) if fresh else range(NEW, NEW + 1, 4)


def slate_profile(**script: object) -> Profile:
    return Profile.model_validate(
        {"model": {"kind": "slate"}, "frame": str(SIZE), "slate": script or {}}
    )


def slate_kind(profile: Profile, threads: int) -> ModelKind:
    return ModelKind(
        name="slate",
        lattice=TinyLattice(),
        identity="slate",
        pixel_fields=(),
        embeds_prompts=False,
        draws_labels=True,
        keeps_latents=False,
        cost=lambda window, overlap=0: Cost(float(window)),
        renderer=lambda: SlateRenderer(profile.slate),
        text_encoder=None,
    )


class LatentRenderer:
    """Every frame is a number that its prompt, seed and history decide; latents go with frames."""

    def setup(self) -> None: ...

    def numerics(self) -> str:
        return "test"

    def close(self) -> None: ...

    def render(
        self,
        spec: SegmentSpec,
        prompt: NDArray[np.float32] | None,
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        history = given.history
        assert prompt is not None and negative is not None
        told = 0 if history is None else int(history.pixels.astype(int).sum()) % 97
        if history is not None and history.latents is not None:
            assert history.latents.shape[1] == (spec.overlap - 1) // 4 + 1
            told = int(history.latents.sum()) % 97
        base = int(prompt.sum() + negative.sum()) + told + spec.seed
        count = spec.new // 4 + (spec.overlap == 0)
        latents = np.arange(base, base + count, dtype=np.float32)
        sink.step(1, 2)
        values = (base + np.arange(spec.new)).astype(np.uint8)
        sink.frames(
            np.broadcast_to(values[:, None, None, None], (spec.new, spec.height, spec.width, 3))
        )
        sink.step(2, 2)
        sink.latents(np.broadcast_to(latents[None, :, None, None], (2, count, 3, 4)).copy())


class LengthEncoder:
    """Embeds a text as its length and its letters; refuses one word."""

    calls: list[str] = []  # noqa: RUF012

    def setup(self) -> None: ...

    def encode(self, text: str) -> NDArray[np.float32]:
        if "unspeakable" in text:
            raise ValueError("this text can't be encoded")
        self.calls.append(text)
        return np.array([[len(text), sum(map(ord, text)) % 89]], dtype=np.float32)

    def close(self) -> None: ...


def latent_kind(profile: Profile, threads: int) -> ModelKind:
    return replace(
        slate_kind(profile, threads),
        name="latent",
        identity="latent",
        embeds_prompts=True,
        draws_labels=False,
        keeps_latents=True,
        renderer=LatentRenderer,
        text_encoder=LengthEncoder,
        encoder="lengths",
    )


@dataclass(frozen=True)
class Shot:
    """A shot of a test plan: prompts, one per segment, and the shot it continues."""

    id: str
    prompts: tuple[str, ...]
    follows: str | None = None


def tiny_plan(
    *shots: Shot, kind: str = "slate", history: str = "pixels", seed: int = 1, offset: int = 0
) -> Plan:
    """A plan of chained segments of 9, then 8 frames; a follower begins at its source's end."""
    takes: list[PlannedTake] = []
    last: dict[str, Segment] = {}
    for shot in shots:
        segments: list[Segment] = []
        parent = last.get(shot.follows or "")
        start = 0
        for index, prompt in enumerate(shot.prompts):
            fresh = parent is None
            new = FRESH if fresh else NEW
            spans: tuple[Span, ...] = ()
            if parent is not None:
                made = parent.inputs.spec.new
                spans = (Span(parent.recipe, made - OVERLAP - offset, made - offset),)
            spec = SegmentSpec(
                SIZE.width,
                SIZE.height,
                new + (0 if fresh else OVERLAP),
                0 if fresh else OVERLAP,
                seed + index,
                make_label(shot.id, 0, prompt, start) if kind == "slate" else "",
            )
            inputs = SegmentInputs(kind, (), prompt, "bad", spec)
            segment = Segment(
                segment_recipe(inputs, spans), shot.id, 1, index, 0, start, inputs, spans, 10.0
            )
            segments.append(segment)
            parent, start = segment, start + new
        last[shot.id] = segments[-1]
        resolved = ResolvedShot(shot.id, shot.id, 0, "text", ())
        takes.append(PlannedTake(resolved, 1, seed, tuple(segments), 0, start))
    return Plan(
        title="Test",
        pipeline=kind,
        fps=Fraction(24),
        size=SIZE,
        takes=tuple(takes),
        cut=tuple(CutEntry(take.shot.id, 1, 0, take.generated) for take in takes),
        keeps_latents=kind == "latent",
        embeds_prompts=kind == "latent",
        history=history,
    )


def cluster(address: str = "in-process", **sections: object) -> Cluster:
    return Cluster.model_validate({"address": address, **sections})


@dataclass
class Rendering:
    report: FarmReport
    events: list[Event]


async def render(
    plan: Plan,
    store: Path,
    *,
    profile: Profile | None = None,
    where: Cluster | None = None,
    only: frozenset[str] | None = None,
    events: list[Event] | None = None,
    poll: float = 0.5,
    terms: Terms | None = None,
) -> Rendering:
    """Render on the farm that `where` names; in-process unless told otherwise."""
    profile = profile or slate_profile()
    make = latent_kind if plan.pipeline == "latent" else slate_kind
    events = [] if events is None else events
    opened = Store(store)
    async with open_farm(profile, where or cluster(), opened, title="test", kind=make) as farm:
        terms = terms or Terms(poll=poll)
        report = await render_plan(
            plan, make(profile, 1), opened, farm, events.append, only=only, terms=terms
        )
    return Rendering(report, events)
