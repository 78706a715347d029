"""What a take was made from, by the names that authors use: to say why a held take is stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storyflow.planning.nodes import Condition, SegmentInputs, Span
from storyflow.storyboard.resolved import ResolvedShot

Facts = tuple[tuple[str, str], ...]

_FILES = {"start": "start picture", "end": "end picture", "clip": "extended clip"}

_FIELDS = ("do", "say", "feel", "size", "angle", "view", "move", "lens", "light", "style")


def facts_of(
    shot: ResolvedShot,
    inputs: SegmentInputs,
    history: Sequence[Span],
    conditions: Iterable[Condition],
    seed: int,
) -> Facts:
    """(name, value) pairs, in a fixed order; `inputs` and `history` are the first segment's,
    `conditions` those of all of the take's segments.

    What is not said is no fact. Beats that say different things are joined by bars.
    """
    beats = shot.beats
    facts = [(name, _said(getattr(beat, name) for beat in beats)) for name in _FIELDS]
    facts.append(("avoid", _said((*(beat.avoid for beat in beats), inputs.negative))))
    facts.append(("place", _said(beat.place.look if beat.place else None for beat in beats)))
    facts.append(("who", _said(tuple(c.name for c in beat.who) for beat in beats)))
    looks = {c.name: c.look for beat in beats for c in beat.who}
    facts += [(f"look of {name}", look) for name, look in looks.items()]
    facts.append(("dur", " + ".join(f"{beat.frames}f" for beat in beats)))
    facts.append(("seed", str(seed)))
    facts += [(_FILES[c.role], f"{c.digest} {c.fit}") for c in conditions]
    facts.append(("continued shot", ", ".join(f"{s.segment}@{s.start}-{s.stop}" for s in history)))
    facts.append(("model", inputs.model))
    facts.append(("frame", f"{inputs.spec.width}x{inputs.spec.height}"))
    facts += [(name, str(value)) for name, value in inputs.pixel_fields]
    return tuple((name, value) for name, value in facts if value)


def changed(before: Facts, now: Facts) -> tuple[str, ...]:
    """Names of the facts that are not what they were, in the order of today's."""
    old, new = dict(before), dict(now)
    names = [*new, *(name for name in old if name not in new)]
    return tuple(name for name in names if old.get(name) != new.get(name))


def _said(values: Iterable[str | tuple[str, ...] | None]) -> str:
    texts = [", ".join(v) if isinstance(v, tuple) else v or "" for v in values]
    return texts[0] if len(set(texts)) == 1 else " | ".join(texts)
