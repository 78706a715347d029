"""What a take was made from, by the names that authors use: to say why a held take is stale."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from storyflow.plan.nodes import SegmentInputs, Span
from storyflow.storyboard.resolved import ResolvedShot

Facts = tuple[tuple[str, str], ...]

_FIELDS = ("do", "say", "feel", "size", "angle", "view", "move", "lens", "light", "style")


def facts_of(
    shot: ResolvedShot, inputs: SegmentInputs, history: Sequence[Span], seed: int
) -> Facts:
    """(name, value) pairs, in a fixed order; `inputs` and `history` are the first segment's."""
    facts = [(name, _values(getattr(beat, name) for beat in shot.beats)) for name in _FIELDS]
    facts.append(("avoid", _values([*(beat.avoid for beat in shot.beats), inputs.negative])))
    facts.append(("place", _values(b.place.look if b.place else None for b in shot.beats)))
    facts.append(("who", _values([c.name for c in b.who] for b in shot.beats)))
    looks = {c.name: c.look for beat in shot.beats for c in beat.who}
    facts += [(f"look of {name}", look) for name, look in looks.items()]
    facts.append(("dur", _values(beat.frames for beat in shot.beats)))
    facts.append(("seed", str(seed)))
    facts.append(("from", _values((c.role, c.digest, c.fit) for c in inputs.conditions)))
    facts.append(("continued shot", _values((s.segment, s.start, s.stop) for s in history)))
    facts.append(("model", inputs.model))
    facts.append(("frame", f"{inputs.spec.width}x{inputs.spec.height}"))
    facts += [(name, json.dumps(value)) for name, value in inputs.pixel_fields]
    return tuple(facts)


def changed(before: Facts, now: Facts) -> tuple[str, ...]:
    """Names of the facts that are not what they were, in the order of today's."""
    old, new = dict(before), dict(now)
    names = [*new, *(name for name in old if name not in new)]
    return tuple(name for name in names if old.get(name) != new.get(name))


def _values(values: Iterable[object]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
