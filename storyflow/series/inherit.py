"""How a film inherits: bible < the episode's entry in the series < storyboard.

`style` and `avoid` add up, widest first, also those of `defaults`. Everything else is the
narrowest's: single values as they are, `defaults` key by key, `cast` and `places` name by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storyflow.series.model import Inherited
from storyflow.storyboard.model import Authored, Defaults, Film

_ADDED = ("style", "avoid")
_SINGLE = ("frame", "fps", "handles")
_NAMED = ("cast", "places")
_ABOVE_DEFAULTS = ("light", "place")


def inherited(film: Film, levels: Sequence[Inherited]) -> Film:
    """The film with all that it inherits from these levels, the widest first."""
    every: tuple[Authored, ...] = (*levels, film)
    news: dict[str, Any] = {key: _joined(every, key) for key in _ADDED}
    news |= {key: _narrowest(every, key) for key in _SINGLE}
    for key in _NAMED:
        merged: dict[str, Any] = {}
        for level in every:
            merged |= getattr(level, key)
        news[key] = merged
    news["defaults"] = _defaults(film, levels)
    made = film.model_copy(update=news)
    made.came_from(film.origin)
    return made


def _defaults(film: Film, levels: Sequence[Inherited]) -> Defaults | None:
    # What the film itself says stands above all defaults, and may not stand beside its own.
    said = [key for key in _ABOVE_DEFAULTS if getattr(film, key) is not None]
    wider = [level.defaults for level in levels if level.defaults is not None]
    own = film.defaults
    if not wider:
        return own
    every = (*wider, *((own,) if own is not None else ()))
    values: dict[str, Any] = {}
    for key in Defaults.model_fields:
        if key in _ADDED:
            values[key] = _joined(every, key)
        elif key in said:
            values[key] = None if own is None else getattr(own, key)
        else:
            values[key] = _narrowest(every, key)
    made: Defaults = every[-1].model_copy(update=values)
    made.came_from(every[-1].origin)
    return made


def _narrowest(levels: Sequence[Authored], key: str) -> Any:
    said = (getattr(level, key) for level in reversed(levels))
    return next((value for value in said if value is not None), None)


def _joined(levels: Sequence[Authored], key: str) -> str | None:
    texts = [text for level in levels if (text := getattr(level, key)) is not None]
    if not texts:
        return None
    return ", ".join([*(text.rstrip(" ,;.") for text in texts[:-1]), texts[-1]])
