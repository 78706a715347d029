"""Titles on the pictures of a shot: when each is seen, and how strongly.

A card is part of what its shot shows: transitions change it, and where it touches an end of the
shot it goes on under the transition there. Every other title lies over the transitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from storyflow.cutting.overlays import Overlay, overlay
from storyflow.cutting.transitions import WHOLE
from storyflow.storyboard.resolved import Title
from storyflow.timing import Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FADE = 8
"""Frames in which a title appears and disappears: a third of a second at 24 a second. A title
shorter than four times as long takes a quarter of its time for each."""


@dataclass(frozen=True)
class Laid:
    """A title on one picture: `share` 256ths of it. `name` says what it is, exactly."""

    name: str
    overlay: Overlay
    share: int

    def on(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of uint8 [height, width, 3] with the title on it."""
        return self.overlay.on(picture, self.share)


class Lettering:
    """The titles of a shot of `frames` frames, on pictures of `size`."""

    def __init__(self, titles: Sequence[Title], frames: int, size: Size) -> None:
        self._titles = titles
        self._frames = frames
        self._size = size

    def under(self, place: int) -> Iterator[Laid]:
        """The cards that the shot itself shows at a frame, which may lie before or after it."""
        for title in self._titles:
            if title.style == "card":
                yield from self._laid(title, card_share(title, place, self._frames))

    def over(self, place: int) -> Iterator[Laid]:
        """The titles that lie over everything else at a frame."""
        for title in self._titles:
            if title.style != "card":
                yield from self._laid(title, title_share(title, place))

    def _laid(self, title: Title, share: int) -> Iterator[Laid]:
        if share:
            name = f"{title.style} {title.ground} {share} {title.text!r}"
            yield Laid(name, _overlay(title, self._size), share)


def title_share(title: Title, place: int) -> int:
    """How strongly a title is seen at a frame of its shot, in 256ths."""
    return _share(title, place, fades_in=True, fades_out=True)


def card_share(title: Title, place: int, frames: int) -> int:
    """How strongly a card is seen: it fades inside its shot, and is cut at the shot's ends."""
    from_start, to_end = title.at <= 0, title.at + title.frames >= frames
    if (from_start and place < 0) or (to_end and place >= frames):
        place = min(max(place, 0), frames - 1)
    return _share(title, place, fades_in=not from_start, fades_out=not to_end)


def _share(title: Title, place: int, *, fades_in: bool, fades_out: bool) -> int:
    since, left = place - title.at, title.at + title.frames - 1 - place
    if since < 0 or left < 0:
        return 0
    steps = min(FADE, title.frames // 4) + 1
    reached = min(since + 1 if fades_in else steps, left + 1 if fades_out else steps, steps)
    return (2 * reached * WHOLE + steps) // (2 * steps)


@lru_cache(maxsize=8)
def _overlay(title: Title, size: Size) -> Overlay:
    return overlay(title.text, title.style, title.ground, size)
