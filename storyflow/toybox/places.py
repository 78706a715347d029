"""The five places as wide pictures, as fine as the screen and endless from side to side.

Colours stay pale in every light (saturation below that of the figures), and every place has
something upright, so that a pan can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Panorama = NDArray[np.float32]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Extent:
    """The panorama's size in screen pixels."""

    width: int = 160
    height: int = 96


PANORAMA: Final = Extent()
SOFT: Final = 2.0
"""Pixels over which an edge goes from one colour to the other."""
HORIZON: Final = 2.0
"""Screen pixels below the middle."""

PLACES: Final = ("meadow", "desert", "sea", "city", "snow")

SKY: Final[dict[str, tuple[Colour, Colour]]] = {
    "day": ((140, 190, 232), (206, 228, 242)),
    "dusk": ((124, 100, 150), (242, 184, 146)),
    "night": ((22, 26, 60), (52, 60, 106)),
}
TINT: Final[dict[str, Colour]] = {
    "day": (1.0, 1.0, 1.0),
    "dusk": (0.95, 0.76, 0.70),
    "night": (0.36, 0.40, 0.58),
}


class _Canvas:
    """A panorama being painted: coordinates in screen pixels, v downwards from the horizon."""

    def __init__(self, light: str, seed: int) -> None:
        wide, high = PANORAMA.width, PANORAMA.height
        self.rng = np.random.default_rng([seed, 77])
        self.light = light
        self.u = (np.arange(wide, dtype=np.float32) + 0.5)[None, :]
        v = np.arange(high, dtype=np.float32) + 0.5
        self.v = (v - PANORAMA.height / 2 - HORIZON)[:, None]
        upper, lower = (np.asarray(c, np.float32) for c in SKY[light])
        part = np.clip((self.v + 40) / 40, 0, 1)[..., None]
        self.picture: Panorama = np.repeat(upper + (lower - upper) * part, wide, axis=1)

    def cover(self, mask: NDArray[np.float32], colour: Colour, *, lit: bool = True) -> None:
        """Blend a colour in; `lit` things take the light's tint, others shine by themselves."""
        paint = np.asarray(colour, np.float32)
        if lit:
            paint = paint * np.asarray(TINT[self.light], np.float32)
        self.picture += np.clip(mask, 0, 1)[..., None] * (paint - self.picture)

    def from_u(self, middle: float) -> NDArray[np.float32]:
        """Distance to a column, the short way round."""
        half = PANORAMA.width / 2
        away = (self.u - middle + half) % PANORAMA.width - half
        return away.astype(np.float32)

    def below(self, edge: NDArray[np.float32] | float) -> NDArray[np.float32]:
        return _share((self.v - edge) / SOFT + 0.5)

    def disc(self, u: float, v: float, radius: float) -> NDArray[np.float32]:
        away = np.sqrt(self.from_u(u) ** 2 + (self.v - v) ** 2)
        return _share((radius - away) / SOFT + 0.5)

    def box(self, u: float, top: float, half: float, bottom: float) -> NDArray[np.float32]:
        out = np.maximum(np.abs(self.from_u(u)) - half, np.maximum(top - self.v, self.v - bottom))
        return _share(0.5 - out / SOFT)

    def peak(self, u: float, top: float, half: float, bottom: float) -> NDArray[np.float32]:
        """An upright triangle."""
        part = (self.v - top) / (bottom - top)
        out = np.maximum(np.abs(self.from_u(u)) - half * part, self.v - bottom)
        return _share(0.5 - out / SOFT)

    def spots(self, count: int, jitter: float = 0.35) -> list[float]:
        """Columns spread over the panorama."""
        step = PANORAMA.width / count
        moved = self.rng.uniform(-jitter, jitter, count)
        return [float((i + 0.5 + moved[i]) * step) for i in range(count)]

    def waves(self, count: int, height: float) -> NDArray[np.float32]:
        """A smooth endless line of hills."""
        phase = self.rng.uniform(0, 2 * np.pi, 2)
        turn = 2 * np.pi * self.u / PANORAMA.width
        line: NDArray[np.float32] = height * (
            np.sin(count * turn + phase[0]) + 0.4 * np.sin((2 * count + 1) * turn + phase[1])
        )
        return line


def _share(value: NDArray[np.floating]) -> NDArray[np.float32]:
    share: NDArray[np.float32] = np.clip(value, 0, 1).astype(np.float32)
    return share


@cache
def panorama(place: str, light: str, seed: int) -> Panorama:
    """float32 [96, 160, 3] in 0..1; the same arguments, the same picture. Read only."""
    canvas = _Canvas(light, seed)
    _heaven(canvas)
    _PAINTERS[place](canvas)
    wide = (canvas.picture / 255).astype(np.float32)
    wide.setflags(write=False)
    return wide


def _heaven(canvas: _Canvas) -> None:
    rng = canvas.rng
    if canvas.light == "night":
        for u in canvas.spots(14, 0.5):
            canvas.cover(
                canvas.disc(u, float(rng.uniform(-44, -16)), 0.7), (214, 214, 226), lit=False
            )
    u = float(rng.uniform(0, PANORAMA.width))
    disc: dict[str, tuple[float, float, Colour]] = {
        "day": (-25.0, 5.0, (255, 250, 216)),
        "dusk": (-9.0, 7.0, (255, 228, 178)),
        "night": (-24.0, 5.0, (226, 226, 208)),
    }
    for at in (u, u + PANORAMA.width / 2):
        v, radius, colour = disc[canvas.light]
        canvas.cover(canvas.disc(at, v, radius), colour, lit=False)


def _meadow(canvas: _Canvas) -> None:
    canvas.cover(canvas.below(-3 + canvas.waves(3, 2.5)), (128, 176, 122))
    canvas.cover(canvas.below(3 + canvas.waves(2, 1.0)), (152, 198, 130))
    for u in canvas.spots(4):
        foot = float(canvas.rng.uniform(3, 8))
        canvas.cover(canvas.box(u, foot - 9, 1.2, foot), (134, 108, 88))
        canvas.cover(canvas.disc(u, foot - 12, 6.0), (98, 148, 98))
    for u in canvas.spots(10, 0.5):
        v = float(canvas.rng.uniform(11, 28))
        canvas.cover(canvas.disc(u, v, 1.2), (240, 236, 214))


def _desert(canvas: _Canvas) -> None:
    for u in canvas.spots(3):
        canvas.cover(canvas.peak(u, -12, 24, 6), (212, 186, 148))
    canvas.cover(canvas.below(3 + canvas.waves(2, 1.5)), (232, 210, 168))
    for u in canvas.spots(4):
        foot = float(canvas.rng.uniform(5, 12))
        canvas.cover(canvas.box(u, foot - 14, 1.6, foot), (116, 146, 104))
        side = float(canvas.rng.choice([-1.0, 1.0]))
        canvas.cover(canvas.box(u + 2.5 * side, foot - 7, 2.5, foot - 5), (116, 146, 104))
        canvas.cover(canvas.box(u + 4.5 * side, foot - 11, 1.0, foot - 5), (116, 146, 104))


def _sea(canvas: _Canvas) -> None:
    canvas.cover(canvas.below(0.0), (112, 158, 200))
    for u in canvas.spots(14, 0.5):
        v = float(canvas.rng.uniform(5, 42))
        canvas.cover(canvas.box(u, v, 4.0, v + 1.4), (172, 206, 228))
    for u in canvas.spots(3):
        foot = float(canvas.rng.uniform(1, 4))
        canvas.cover(canvas.peak(u, foot - 14, 6, foot - 2), (244, 242, 236))
        canvas.cover(canvas.box(u, foot - 2, 6.0, foot + 1), (136, 104, 88))


def _city(canvas: _Canvas) -> None:
    greys: tuple[Colour, ...] = ((148, 144, 156), (124, 120, 136), (168, 158, 158))
    window: Colour = (238, 218, 146) if canvas.light != "day" else (98, 104, 124)
    for i, u in enumerate(canvas.spots(10, 0.2)):
        top = -float(canvas.rng.uniform(8, 28))
        canvas.cover(canvas.box(u, top, 6.5, 4), greys[i % 3])
        for side in (-2.8, 2.8):
            for v in np.arange(top + 3, 0, 6):
                canvas.cover(canvas.box(u + side, v, 1.5, v + 3), window, lit=canvas.light == "day")
    canvas.cover(canvas.below(3.0), (120, 114, 124))
    for u in canvas.spots(8, 0.0):
        canvas.cover(canvas.box(u, 18, 5.0, 20), (206, 202, 196))


def _snow(canvas: _Canvas) -> None:
    canvas.cover(canvas.below(-5 + canvas.waves(2, 4.0)), (208, 220, 234))
    canvas.cover(canvas.below(4 + canvas.waves(3, 1.0)), (238, 242, 247))
    for u in canvas.spots(5):
        foot = float(canvas.rng.uniform(3, 10))
        canvas.cover(canvas.peak(u, foot - 16, 5.5, foot), (92, 124, 110))


_PAINTERS: Final = {
    "meadow": _meadow,
    "desert": _desert,
    "sea": _sea,
    "city": _city,
    "snow": _snow,
}
