"""Films for the planner's tests: storyboards as text, and a model kind that loads nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from storyflow.forcing.lattice import ForcingLattice
from storyflow.lock import Lock
from storyflow.lockfile import pin, pin_windows
from storyflow.pipeline import ModelSection, Profile, WindowsSection
from storyflow.planning.nodes import Plan, PlannedTake
from storyflow.planning.planner import make_plan
from storyflow.renderer import Cost, ModelKind, Renderer
from storyflow.storyboard.load import parse
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedFilm
from storyflow.timing import Size


def no_renderer() -> Renderer:
    """Planning loads no model."""
    raise AssertionError("planning must not load a model")


def kind(*, draws_labels: bool = False, identity: str = "model@1", window: int = 97) -> ModelKind:
    """A kind with SkyReels' lattice; a segment costs its window, squared."""
    return ModelKind(
        name="test",
        lattice=ForcingLattice(window, 17),
        identity=identity,
        pixel_fields=(("steps", 20), ("history", "pixels")),
        embeds_prompts=True,
        draws_labels=draws_labels,
        keeps_latents=True,
        cost=lambda window, overlap=0: Cost(float(window * window)),
        renderer=no_renderer,
        text_encoder=None,
        encoder="encoder@1",
    )


KIND = kind()
PROFILE = Profile(
    model=ModelSection(kind="slate"),
    frame=Size(96, 64),
    windows=WindowsSection(trained=97, overlap=17, floor=33),
)


def profile(**changes: object) -> Profile:
    """PROFILE with some fields changed."""
    return PROFILE.model_copy(update=changes)


def film(text: str, lock: Lock | None = None, root: Path | None = None) -> ResolvedFilm:
    """A resolved film from a storyboard's text."""
    return resolve(parse(text, root=root), (lock or Lock()).pinned)


def planned(
    text: str,
    lock: Lock | None = None,
    *,
    root: Path | None = None,
    kind: ModelKind = KIND,
    profile: Profile = PROFILE,
) -> Plan:
    """The plan of a storyboard's text, on a pipeline named `toybox`."""
    lock = lock or Lock()
    return make_plan(film(text, lock, root), lock, profile, "toybox", kind)


def rendered(text: str, lock: Lock | None = None, **options: object) -> tuple[Plan, Lock]:
    """A plan, and the lock as it is when all of it has been rendered."""
    lock = lock or Lock()
    plan = planned(text, lock, **options)  # type: ignore[arg-type]
    root = options.get("root")
    assert root is None or isinstance(root, Path)
    lock = pin(lock, film(text, lock, root))
    return plan, pin_windows(lock, plan, recipes(plan))


def recipes(plan: Plan) -> frozenset[str]:
    """Every segment's recipe."""
    return frozenset(segment.recipe for segment in plan.segments)


def names(plan: Plan, among: frozenset[str] | set[str]) -> list[str]:
    """The names of those segments whose recipes are `among` these, in order."""
    return [segment.name for segment in plan.segments if segment.recipe in among]


def new_segments(before: Plan, after: Plan) -> list[str]:
    """Names of the segments that `after` must render though all of `before` is in the store."""
    return names(after, recipes(after) - recipes(before))


def lengths(take: PlannedTake) -> list[int]:
    """New frames of each segment."""
    return [segment.inputs.spec.new for segment in take.segments]


def with_kind(**changes: object) -> ModelKind:
    """KIND with some fields changed."""
    return replace(KIND, **changes)  # type: ignore[arg-type]
