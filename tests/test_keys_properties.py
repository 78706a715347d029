"""What changes keys and what never does, for any film and any inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plan_films import PROFILE, film, planned, profile, recipes

from storyflow.cluster import Cluster
from storyflow.lock import Lock
from storyflow.lockfile import pin, pin_windows
from storyflow.pipeline import DeliverSection
from storyflow.planning.keys import segment_key, segment_recipe
from storyflow.planning.nodes import Condition, Plan, SegmentInputs, Span
from storyflow.renderer import SegmentSpec

QUICK = settings(max_examples=25, deadline=None)


@dataclass(frozen=True)
class Told:
    """A shot of a storyboard; beats are (frames, action)."""

    id: str
    beats: tuple[tuple[int, str], ...]
    follows: str | None = None
    extra: str = ""

    @property
    def text(self) -> str:
        beats = ", ".join(f'{{dur: {frames}f, do: "{do}"}}' for frames, do in self.beats)
        start = f", from: {self.follows}" if self.follows else ""
        return f"- {{id: {self.id}{start}{self.extra}, beats: [{beats}]}}"


def story(shots: list[Told], head: str = "handles: 12f") -> str:
    return "\n".join(["film: F", head, "shots:", *(shot.text for shot in shots)]) + "\n"


ACTION = st.sampled_from(("waves break", "a gull cries", "he walks left", "she sleeps"))
BEATS = st.lists(st.tuples(st.integers(48, 200), ACTION), min_size=1, max_size=3).map(tuple)


@st.composite
def films(draw: st.DrawFn) -> list[Told]:
    """Two to five shots, some of them continuing another one."""
    shots: list[Told] = []
    for number in range(draw(st.integers(2, 5))):
        follows = None
        if shots and draw(st.booleans()):
            follows = draw(st.sampled_from(shots)).id
        shots.append(Told(f"S{number}", draw(BEATS), follows))
    return shots


def first(shots: list[Told]) -> tuple[Plan, Lock]:
    """The plan of a film, and its lock when all of it is rendered."""
    text = story(shots)
    lock = pin(Lock(), film(text))
    plan = planned(text, lock)
    return plan, pin_windows(lock, plan, recipes(plan))


@QUICK
@given(films(), st.randoms(use_true_random=False))
def test_position_in_the_film_is_in_no_key(shots: list[Told], random: object) -> None:
    plan, lock = first(shots)
    moved = list(shots)
    random.shuffle(moved)  # type: ignore[attr-defined]
    assert recipes(planned(story(moved), lock)) == recipes(plan)


@QUICK
@given(films(), st.data())
def test_a_shot_id_is_in_no_key(shots: list[Told], data: st.DataObject) -> None:
    plan, lock = first(shots)
    old = data.draw(st.sampled_from(shots)).id
    # Shots that say the same can't be told apart once a name is gone.
    assume(len({(shot.beats, shot.follows) for shot in shots}) == len(shots))
    renamed = [
        replace(
            shot,
            id="Other" if shot.id == old else shot.id,
            follows="Other" if shot.follows == old else shot.follows,
        )
        for shot in shots
    ]
    assert recipes(planned(story(renamed), lock)) == recipes(plan)


@QUICK
@given(films(), st.data())
def test_a_trim_changes_no_key(shots: list[Told], data: st.DataObject) -> None:
    """A shot that nothing continues loses frames at its end: what is left has its old keys."""
    plan, lock = first(shots)
    followed = {shot.follows for shot in shots}
    free = [n for n, shot in enumerate(shots) if shot.id not in followed]
    place = data.draw(st.sampled_from(free))
    *kept, (frames, do) = shots[place].beats
    shorter = data.draw(st.integers(48, frames))
    shots[place] = replace(shots[place], beats=(*kept, (shorter, do)))
    assert recipes(planned(story(shots), lock)) <= recipes(plan)


@QUICK
@given(
    films(),
    st.sampled_from(
        (
            "title: T",
            "title: {text: T, as: card, dur: 12f}",
            "out: fade black 12f",
            "note: n",
            "in: fade black 6f",
        )
    ),
)
def test_titles_fades_and_notes_are_in_no_key(shots: list[Told], extra: str) -> None:
    plan, lock = first(shots)
    assume(not (extra.startswith("in:") and shots[-1].follows))
    shots[-1] = replace(shots[-1], extra=f", {extra}")
    assert recipes(planned(story(shots), lock)) == recipes(plan)


@QUICK
@given(films(), st.sampled_from(("dissolve", "wipe up")), st.integers(1, 24))
def test_a_transition_within_the_handles_changes_no_key(
    shots: list[Told], kind: str, frames: int
) -> None:
    plan, lock = first(shots)
    assume(shots[-1].follows is None)
    shots[-1] = replace(shots[-1], extra=f", in: {kind} {frames}f")
    assert recipes(planned(story(shots), lock)) == recipes(plan)


@QUICK
@given(films(), st.integers(0, 51), st.integers(1, 16), st.sampled_from(("fast", "slow")))
def test_delivery_is_in_no_key(shots: list[Told], crf: int, scale: int, preset: str) -> None:
    plan, lock = first(shots)
    deliver = DeliverSection.model_validate({"crf": crf, "scale": scale, "preset": preset})
    assert recipes(planned(story(shots), lock, profile=profile(deliver=deliver))) == recipes(plan)


def test_the_cluster_is_no_argument_of_planning() -> None:
    """So neither workers, accelerators nor prices can enter a key."""
    from inspect import signature

    from storyflow.planning.planner import make_plan

    taken = {str(p.annotation) for p in signature(make_plan).parameters.values()}
    assert not any(Cluster.__name__ in name for name in taken)
    assert Cluster.__name__ not in str(type(PROFILE).model_fields)


TEXT = st.text(max_size=12)
HASH = st.text("0123456789abcdef", min_size=8, max_size=8)
CONDITIONS = st.lists(
    st.builds(
        Condition, st.sampled_from(("start", "end", "clip")), HASH, st.sampled_from(("crop", "pad"))
    ),
    max_size=2,
).map(tuple)
FIELDS = st.dictionaries(
    st.sampled_from(("steps", "shift", "sigmas", "history")),
    st.one_of(st.integers(0, 99), st.floats(0, 9), TEXT, st.booleans()),
    max_size=3,
).map(lambda found: tuple(sorted(found.items())))
SPECS = st.builds(
    SegmentSpec,
    width=st.integers(16, 2000),
    height=st.integers(16, 2000),
    window=st.integers(60, 130),
    overlap=st.integers(0, 50),
    seed=st.integers(0, 2**53 - 1),
    label=TEXT,
)
INPUTS = st.builds(
    SegmentInputs,
    model=TEXT,
    pixel_fields=FIELDS,
    prompt=TEXT,
    negative=TEXT,
    spec=SPECS,
    conditions=CONDITIONS,
)
HISTORY = st.one_of(st.none(), HASH)

INPUT_FIELDS = [field.name for field in fields(SegmentInputs) if field.name != "spec"]
SPEC_FIELDS = [field.name for field in fields(SegmentSpec)]


@pytest.mark.parametrize("name", INPUT_FIELDS + SPEC_FIELDS)
@QUICK
@given(data=st.data())
def test_each_input_changes_every_key(name: str, data: st.DataObject) -> None:
    """A field that is added to the inputs of a segment is found here, and must enter its key."""
    one, other, history = data.draw(INPUTS), data.draw(INPUTS), data.draw(HISTORY)
    if name in INPUT_FIELDS:
        changed = replace(one, **{name: getattr(other, name)})
    else:
        changed = replace(one, spec=replace(one.spec, **{name: getattr(other.spec, name)}))
    # 1, 1.0 and true are equal in Python and not in JSON: they count as different.
    assume(repr(changed) != repr(one))
    assert segment_key(changed, history) != segment_key(one, history)
    assert segment_recipe(changed, ()) != segment_recipe(one, ())


@QUICK
@given(INPUTS, HISTORY, HISTORY, HASH, HASH)
def test_history_and_embeddings_change_every_key(
    inputs: SegmentInputs, history: str | None, other: str | None, prompt: str, negative: str
) -> None:
    assert (segment_key(inputs, history) == segment_key(inputs, other)) == (history == other)
    assert segment_key(inputs, history, prompt, negative) != segment_key(inputs, history)
    swapped = segment_key(inputs, history, negative, prompt)
    assert (segment_key(inputs, history, prompt, negative) == swapped) == (prompt == negative)


@QUICK
@given(INPUTS, st.tuples(HASH, HASH), st.integers(0, 90), st.integers(0, 90))
def test_every_span_of_history_changes_the_recipe(
    inputs: SegmentInputs, names: tuple[str, str], start: int, stop: int
) -> None:
    one, other = (Span(name, start, stop) for name in names)
    assert (segment_recipe(inputs, (one,)) == segment_recipe(inputs, (other,))) == (one == other)
    assert segment_recipe(inputs, (one, other)) != segment_recipe(inputs, (one,))
    later = replace(one, stop=stop + 1)
    assert segment_recipe(inputs, (later,)) != segment_recipe(inputs, (one,))
