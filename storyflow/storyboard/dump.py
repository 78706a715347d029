"""A film back into YAML: `load(dump(film)) == film`."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import yaml

from storyflow.storyboard.cues import Cue
from storyflow.storyboard.model import Authored, Film
from storyflow.timing import RATE_NAMES, Duration, Size

_FIRST = ("storyflow", "film", "scene", "id", "length", "fps", "frame", "handles", "seed", "from",
          "to", "in", "size", "angle", "view", "dur", "who", "do", "say")  # fmt: skip
_LAST = ("cast", "places", "title", "beats", "out", "shots", "scenes")


def dump(film: Film) -> str:
    """The film as a storyboard file, without comments; only what was said, no defaults."""
    return to_yaml(said(film))


def to_yaml(data: object) -> str:
    """Plain data as YAML that reads back as the same data."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)
    return text


def said(part: Authored) -> dict[str, object]:
    """What the author said, by key, in the order in which people write it."""
    values = vars(part)
    return {
        key: plain(value)
        for name, key in _keys(type(part))
        if (value := values[name]) is not None and not _is_silent(name, value)
    }


def plain(value: object) -> object:
    """Authored values as the plain data that a file holds."""
    if isinstance(value, Authored):
        return said(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Fraction):
        return rate_text(value)
    if isinstance(value, Duration | Size | Cue):
        return str(value)
    return value


def rate_text(rate: Fraction) -> int | str:
    """A frame rate as authors write it: 24, "23.976" or "24000/1001"."""
    if rate.denominator == 1:
        return rate.numerator
    names = [name for name, known in RATE_NAMES.items() if known == rate]
    return names[0] if names else f"{rate.numerator}/{rate.denominator}"


def _is_silent(name: str, value: object) -> bool:
    """Nobody in the picture (`who: []`) is said; no titles and no shots are not."""
    return value == {} or (value == () and name not in ("who", "beats"))


@cache
def _keys(kind: type[Authored]) -> list[tuple[str, str]]:
    """Field names and the keys they are written as, in the order in which people write them."""
    keys = [(name, info.alias or name) for name, info in kind.model_fields.items()]
    return sorted(keys, key=lambda pair: _rank(pair[1]))


def _rank(key: str) -> tuple[int, int]:
    if key in _FIRST:
        return 0, _FIRST.index(key)
    return (2, _LAST.index(key)) if key in _LAST else (1, 0)


class _Dumper(yaml.SafeDumper):
    """Never writes anchors: a film reads better with its repetitions written out."""

    def ignore_aliases(self, data: object) -> bool:
        return True
