"""What a beat looks like: built-in < film < scene < shot < beat, and who is in the picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storyflow.documents import did_you_mean
from storyflow.storyboard.grammar import DUTCH, move_prose
from storyflow.storyboard.model import Authored, Beat, Looks, Shot
from storyflow.storyboard.report import Report, Spot
from storyflow.storyboard.resolved import Character, Place, ResolvedBeat

_MENTION = re.compile(r"(?<![\w@])@(\w+(?:-\w+)*)")
_SCALARS = tuple(key for key in Looks.model_fields if key not in ("style", "avoid"))
_CAPITALS = re.compile(r"(?<![\w@-])[^\W\d_a-z][^\Wa-z]+(?:-[^\Wa-z]+)*(?![\w-])")


class Cast:
    """The film's characters, and how texts name them."""

    def __init__(self, characters: Mapping[str, Character]) -> None:
        self._known = characters
        self._capitals = {name.upper(): name for name in characters if len(name) > 1}

    def mentions(self, text: str) -> list[str]:
        """The names after an `@`, known or not, in order."""
        return [self._longest_known(match[1]) for match in _MENTION.finditer(text)]

    def marked(self, text: str) -> str:
        """The text with known names in CAPITALS, as screenplays write them, as `@name`."""
        return _CAPITALS.sub(
            lambda m: f"@{self._capitals[m[0]]}" if m[0] in self._capitals else m[0], text
        )

    def get(self, name: str) -> Character | None:
        """The character of this name."""
        return self._known.get(name)

    def refuse_unknown(self, names: Iterable[str], spot: Spot, at: str, report: Report) -> None:
        """Report every name that is not in the cast."""
        for name in dict.fromkeys(names):
            if name not in self._known:
                otherwise = "add it to cast:; it has"
                cure = did_you_mean(name, self._known, otherwise=otherwise)
                cure = cure if self._known else f"add '{name}' to cast:"
                report.error(
                    spot, at, "unknown-character", "not in the cast", value=f"@{name}", cure=cure
                )

    def _longest_known(self, name: str) -> str:
        """`girl` in `@girl-like`, where the cast has no girl-like."""
        short = name
        while short not in self._known and "-" in short:
            short = short.rpartition("-")[0]
        return short if short in self._known else name


@dataclass(frozen=True)
class Above:
    """What film and scene say, for all shots of a scene; `of` takes the widest level first."""

    looks: Mapping[str, Any]
    style: tuple[str, ...]
    avoid: tuple[str, ...]

    @classmethod
    def of(cls, levels: Sequence[Authored | None]) -> Above:
        """Narrower levels replace looks, and add to style and avoid."""
        return cls(_narrowed({}, levels), _all(levels, "style"), _all(levels, "avoid"))


def resolve_beats(
    shot: Shot,
    above: Above,
    frames: Sequence[int],
    cast: Cast,
    places: Mapping[str, Place],
    spot: Spot,
    report: Report,
) -> tuple[ResolvedBeat, ...]:
    """The shot's beats with every default applied."""
    if shot.beats and (shot.do or shot.say):
        key = "do" if shot.do else "say"
        what, cure = f"'{key}' beside 'beats'", "move it into the beat in which it happens"
        report.error(spot, key, f"{key}-beside-beats", what, cure=cure)
    empty = shot.beats is not None and not shot.beats
    if empty:
        report.error(spot, "beats", "missing-do", "'beats' is empty", cure="add a beat, or do")
    authored = shot.beats or (Beat(do=shot.do, say=shot.say),)
    named: list[str] = []
    resolved = []
    outer = _narrowed(above.looks, (shot,))
    for number, beat in enumerate(authored):
        looks = _narrowed(outer, (beat,)) if shot.beats else outer
        path = f"beats.{number}." if shot.beats else ""
        if beat.do is None and not empty and not (shot.beats and shot.do):
            at = path.rstrip(".")
            cure = "write what the camera sees: 'do: …'"
            report.error(spot, at, "missing-do", "nothing happens here", cure=cure)
        do = cast.marked(beat.do or "")
        mentions = cast.mentions(do)
        cast.refuse_unknown(mentions, spot, f"{path}do", report)
        named += [*looks.get("who", ()), *mentions]
        own = (shot, beat)
        angle, style = looks.get("angle"), (*above.style, *_all(own, "style"))
        if angle == DUTCH:
            angle, style = "other", (*style, "dutch angle")
        move, place = looks.get("move"), looks.get("place")
        resolved.append(
            ResolvedBeat(
                frames=frames[number],
                do=do,
                say=beat.say,
                feel=looks.get("feel"),
                size=looks.get("size"),
                angle=angle,
                view=looks.get("view"),
                move=None if move is None else move_prose(move),
                lens=looks.get("lens"),
                light=looks.get("light"),
                place=None if place is None else places.get(place),
                who=tuple(c for n in dict.fromkeys(named) if (c := cast.get(n)) is not None),
                style=style,
                avoid=(*above.avoid, *_all(own, "avoid")),
                where=spot.where("beats", number) if shot.beats else spot.where("do"),
            )
        )
    return tuple(resolved)


def _narrowed(outer: Mapping[str, Any], levels: Iterable[Authored | None]) -> dict[str, Any]:
    """What is said so far, replaced by what narrower levels say."""
    looks = dict(outer)
    for level in levels:
        if level is not None:
            values = vars(level)
            looks.update({k: v for k in _SCALARS if (v := values.get(k)) is not None})
    return looks


def _all(levels: Iterable[Authored | None], name: str) -> tuple[str, ...]:
    given = (vars(level).get(name) for level in levels if level is not None)
    return tuple(text for text in given if text is not None)
