"""What a render would do and why: each segment's inputs against those it was last made from.

`Was` is a segment as the film last used it, `Diff` the comparison. A segment is found again by its
shot, take, beat and place in the beat, so a beat that grew longer does not shift those behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast

from storyflow.planning.keys import PIXEL_VERSION
from storyflow.planning.nodes import Plan, Segment

Place = tuple[str, int, int, int]
"""Shot, take, beat, and place in the beat; the last three count from 1, 0 and 0."""

KEPT_WORDS = 2
"""Unchanged words shown before a changed one, so that it is found again."""


_CONTINUES = "continues"
"""What a change is called that is only that of a parent: it may yet come out the same."""


@dataclass(frozen=True)
class Continued:
    """History: frames [start, stop) of a segment by its name."""

    segment: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.segment} frames {self.start} to {self.stop}"


@dataclass(frozen=True)
class Was:
    """A segment as the film last used it.

    `seed` is its take's. `inputs` is the JSON text of its key, None where its output is no longer
    in the store, as `numerics`, the class that it was rendered in, is empty; `history` is None
    where it isn't known any more.
    """

    name: str
    place: Place
    key: str
    prompt: str
    negative: str
    seed: int
    inputs: str | None = None
    history: tuple[Continued, ...] | None = None
    numerics: str = ""


@dataclass(frozen=True)
class Change:
    """One input that is not what it was; None where there was none, or is none now."""

    what: str
    old: str | None
    new: str | None

    @property
    def text(self) -> str:
        """`prompt: 'walks left' -> 'walks right'`; of long texts the words that differ."""
        if self.what == _CONTINUES:
            return f"history: continues {self.new}"
        if self.old is None:
            return f"{self.what}: {self.new}"
        if self.new is None:
            return f"{self.what}: {self.old} -> none"
        if self.what in ("prompt", "negative", "label"):
            old, new = excerpts(self.old, self.new)
            return f"{self.what}: {old!r} -> {new!r}"
        return f"{self.what}: {_short(self.old)} -> {_short(self.new)}"


@dataclass(frozen=True)
class SegmentDiff:
    """What becomes of one segment. `why` is empty for what is reused."""

    segment: str
    shot: str
    take: int
    recipe: str
    action: Literal["reuse", "render"]
    why: tuple[Change, ...] = ()
    old_key: str | None = None


@dataclass(frozen=True)
class Diff:
    """A film against what the store has of it and what it was last made from.

    `since` says when that was (ISO 8601), empty if the film was never rendered into this folder.
    `dropped` are names of segments that it used then and uses no more.
    """

    title: str
    pipeline: str
    since: str
    segments: tuple[SegmentDiff, ...]
    dropped: tuple[str, ...] = ()

    @property
    def reuse(self) -> tuple[str, ...]:
        """Names of the segments that would be reused, in film order."""
        return tuple(s.segment for s in self.segments if s.action == "reuse")

    @property
    def render(self) -> tuple[str, ...]:
        """Names of the segments that would be rendered, in film order; at most these will be."""
        return tuple(s.segment for s in self.segments if s.action == "render")

    @property
    def groups(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """Segments to render, by equal reasons: (names, the reasons' texts).

        That a segment continues one that is rendered is told only where it is the one reason, and
        of a chain of such segments only of the first.
        """
        found: dict[tuple[str, ...], list[str]] = {}
        chains: dict[str, list[str]] = {}
        for segment in self.segments:
            if segment.action == "reuse":
                continue
            own = tuple(change for change in segment.why if change.what != _CONTINUES)
            if own:
                names = found.setdefault(tuple(change.text for change in own), [])
            else:
                (change,) = segment.why
                told = (change.new or "").split(", ")
                chain = next((chains[name] for name in told if name in chains), None)
                names = found.setdefault((change.text,), []) if chain is None else chain
                chains[segment.segment] = names
            names.append(segment.segment)
        return tuple((tuple(names), why) for why, names in found.items())

    def as_data(self) -> dict[str, object]:
        """The same as values for JSON."""
        data = asdict(self)
        for row, made in zip(data["segments"], self.segments, strict=True):
            for change, why in zip(row["why"], made.why, strict=True):
                change["text"] = why.text
        return {"storyflow": 1, **data, "reuse": self.reuse, "render": self.render}


def diff_plan(
    plan: Plan,
    render: frozenset[str],
    stored: Mapping[str, Sequence[str]],
    past: Mapping[Place, Was],
    since: str = "",
    numerics: str = "",
) -> Diff:
    """Compare a plan with the film's past.

    `render` are the recipes that a render would render, `stored` the keys of each recipe in the
    store, `past` has the segments of the film's last run. `numerics` is the class that the film is
    held to, if it is.
    """
    compare = _Comparison(plan, render, stored, past, numerics)
    segments = tuple(
        SegmentDiff(
            segment=segment.name,
            shot=segment.shot,
            take=segment.take,
            recipe=segment.recipe,
            action="render" if segment.recipe in render else "reuse",
            why=tuple(compare.why(segment)) if segment.recipe in render else (),
            old_key=None if (was := compare.was(segment)) is None else was.key,
        )
        for segment in plan.segments
    )
    used = set(compare.places.values())
    dropped = tuple(was.name for place, was in past.items() if place not in used)
    return Diff(plan.title, plan.pipeline, since, segments, dropped)


def places(plan: Plan) -> dict[str, Place]:
    """The place of every segment, by recipe."""
    found: dict[str, Place] = {}
    for take in plan.takes:
        counts: dict[int, int] = {}
        for segment in take.segments:
            place = counts.get(segment.beat, 0)
            counts[segment.beat] = place + 1
            own = (segment.shot, segment.take, segment.beat, place)
            found.setdefault(segment.recipe, own)
    return found


def continued(segment: Segment, names: Mapping[str, str]) -> tuple[Continued, ...]:
    """A segment's history by name; `names` are by recipe."""
    return tuple(Continued(names[s.segment], s.start, s.stop) for s in segment.history)


def excerpts(old: str, new: str) -> tuple[str, str]:
    """The words in which two texts differ, after a few that are the same."""
    before, now = old.split(), new.split()
    head = 0
    while head < min(len(before), len(now)) and before[head] == now[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(now)) - head and before[-1 - tail] == now[-1 - tail]:
        tail += 1
    begin = max(0, head - KEPT_WORDS)
    left, right = (words[begin : len(words) - tail] for words in (before, now))
    if not left or not right:
        tail = max(0, tail - 1)
        left, right = (words[begin : len(words) - tail] for words in (before, now))
    return _clipped(" ".join(left)), _clipped(" ".join(right))


class _Comparison:
    def __init__(
        self,
        plan: Plan,
        render: frozenset[str],
        stored: Mapping[str, Sequence[str]],
        past: Mapping[Place, Was],
        numerics: str = "",
    ) -> None:
        self.render, self.stored, self.past = render, stored, past
        self.numerics = numerics
        self.segments = {segment.recipe: segment for segment in plan.segments}
        self.names = {recipe: segment.name for recipe, segment in self.segments.items()}
        self.seeds = {(take.shot.id, take.take): take.seed for take in plan.takes}
        self.places = places(plan)
        self.by_name = {was.name: was for was in past.values()}
        self.takes = {place[:2] for place in past}
        self.shots = {place[0] for place in past}

    def was(self, segment: Segment) -> Was | None:
        return self.past.get(self.places[segment.recipe])

    def why(self, segment: Segment) -> Iterator[Change]:
        was = self.was(segment)
        if was is None:
            yield Change("new", None, self._what_is_new(segment))
            return
        told = [*self._texts(segment, was), *self._inputs(segment, was)]
        told += self._history(segment, was)
        if self.numerics and was.numerics not in ("", self.numerics):
            told.append(Change("numerics class", was.numerics, self.numerics))
        if not told and was.inputs is None:
            told = [Change("lost", None, "its output is no longer in the store")]
        yield from told or [Change("index", None, "the store's index lacks it; looked for by key")]

    def _what_is_new(self, segment: Segment) -> str:
        if not self.past:
            return "nothing of the film has been rendered"
        if segment.shot not in self.shots:
            return "the shot"
        if (segment.shot, segment.take) not in self.takes:
            return f"take {segment.take}"
        return "the shot needs more frames"

    def _texts(self, segment: Segment, was: Was) -> Iterator[Change]:
        inputs = segment.inputs
        for what, old, new in (
            ("prompt", was.prompt, inputs.prompt),
            ("negative", was.negative, inputs.negative),
        ):
            if old != new:
                yield Change(what, old or None, new or None)

    def _inputs(self, segment: Segment, was: Was) -> Iterator[Change]:
        """What else stands in the key, apart from history."""
        if was.inputs is None:
            return
        old: dict[str, object] = json.loads(was.inputs)
        inputs, spec = segment.inputs, segment.inputs.spec
        yield from _differences({"pixel version": (old.get("pixels"), PIXEL_VERSION)})
        yield from _differences({"model": (old.get("model"), inputs.model)})
        fields = cast("dict[str, object]", old.get("fields") or {})
        now = dict(inputs.pixel_fields)
        yield from _differences({n: (fields.get(n), now.get(n)) for n in (*now, *fields)})
        yield from self._conditions(segment, old)
        seeds = (was.seed, self.seeds[segment.shot, segment.take])
        if seeds[0] == seeds[1]:
            seeds = (cast("int", old.get("seed")), spec.seed)
        frame = f"{old.get('width')}x{old.get('height')}", f"{spec.width}x{spec.height}"
        yield from _differences(
            {
                "seed": seeds,
                "frame": frame,
                "window": (old.get("window"), spec.window),
                "overlap": (old.get("overlap"), spec.overlap),
                "label": (_flat(str(old.get("label") or "")), _flat(spec.label)),
            }
        )

    def _conditions(self, segment: Segment, old: Mapping[str, object]) -> Iterator[Change]:
        rows = cast("list[list[str]]", old.get("conditions") or [])
        before = {role: (digest, fit) for role, digest, fit in rows}
        now = {c.role: (c.digest, c.fit) for c in segment.inputs.conditions}
        names = {"start": "start picture", "end": "end picture", "clip": "extended clip"}
        for role in dict.fromkeys((*before, *now)):
            if before.get(role) == now.get(role):  # type: ignore[call-overload]
                continue
            pair = (before.get(role), now.get(role))  # type: ignore[call-overload]
            old_text, new_text = (None if p is None else f"{p[0][:12]} {p[1]}" for p in pair)
            yield Change(names[role], old_text, new_text)

    def _history(self, segment: Segment, was: Was) -> Iterator[Change]:
        fresh = [p for p in segment.parents if p in self.render]
        now = continued(segment, self.names)
        if was.history is not None and was.history != now:
            yield Change("history", _joined(was.history), _joined(now))
        elif fresh:
            yield Change(_CONTINUES, None, ", ".join(self.names[p] for p in fresh))
        else:
            for parent in segment.parents:
                name = self.names[parent]
                before = self.by_name.get(name)
                keys = self.stored.get(parent, ())
                held = self.segments[parent].key
                if before is not None and before.key not in (*keys, held):
                    yield Change("history", None, f"continues {name}, which is another one now")


def _differences(pairs: Mapping[str, tuple[object, object]]) -> Iterator[Change]:
    for what, (old, new) in pairs.items():
        if old != new:
            yield Change(what, *(None if v is None or v == "" else _text(v) for v in (old, new)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _flat(label: str) -> str:
    return " / ".join(label.split("\n"))


def _joined(history: Sequence[Continued]) -> str:
    return " and ".join(map(str, history)) or "none"


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _clipped(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"
