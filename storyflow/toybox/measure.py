"""Reads clips of the toy world back from their pixels: who, what they do, where, light and camera.

Nothing is learned. Figures are compact blobs of saturated colours, silhouettes are compared with
drawn ones, places with drawn backdrops, the camera is the motion of everything that is not a
figure (Lucas and Kanade's least squares over the whole clip).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storyflow.toybox import world
from storyflow.toybox.places import PLACES
from storyflow.toybox.shapes import SHAPES
from storyflow.toybox.world import CAMERAS, COLOURS, LIGHTS, Figure, Scene, Turn

Clip = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Track = tuple[Numbers, Numbers, Numbers]
"""Of a figure: x, y and area in every frame, NaN where it is not seen."""

SMALLEST_AREA: Final = 24
"""Pixels of one colour below which no figure is seen in a frame."""

COMPACT: Final = 0.08
"""The least part of the square around it that a figure covers. A star covers a third; what is left
of a figure that goes out of the picture less, but more than a rim or a band in the sky."""
TOUCHING: Final = 0.8
"""Figures less apart than this by the sum of their areas' square roots may hide one another. A
circle's edge is 0.65 of its root away, a star's points and a triangle's corners a whole one."""
GROWTH: Final = 0.45
"""By what a medium shot's figure that grows or shrinks does so in 97 frames, as a logarithm."""


@dataclass(frozen=True)
class SeenFigure:
    """A figure as it was seen. `x`, `y`, `area` are float [frames], NaN where it was not."""

    colour: str
    shape: str | None
    action: str | None
    x: Numbers
    y: Numbers
    area: Numbers


@dataclass(frozen=True)
class Reading:
    """What a clip shows; figures with the largest first."""

    figures: tuple[SeenFigure, ...]
    place: str
    light: str
    camera: str

    def of(self, colour: str) -> SeenFigure | None:
        """The figure of a colour."""
        return next((each for each in self.figures if each.colour == colour), None)


def read(clip: Clip) -> Reading:
    """Read a clip, uint8 [frames, 64, 96, 3]; needs some 25 frames for the motions."""
    labels = colours_of(clip)
    camera = camera_of(clip, labels)
    place, light = place_of(clip, labels)
    found = _present(labels)
    tracks = [track(mask) for mask in found.values()]
    figures = []
    for i, (name, mask) in enumerate(found.items()):
        others = [other for j, other in enumerate(tracks) if j != i and _together(tracks[i], other)]
        action = action_of(tracks[i], others, camera)
        figures.append(SeenFigure(name, shape_of(mask), action, *tracks[i]))
    return Reading(tuple(figures), place, light, camera)


def _together(one: tuple[Numbers, ...], other: tuple[Numbers, ...]) -> bool:
    """Whether two figures are ever in the same frame."""
    return bool((np.isfinite(one[0]) & np.isfinite(other[0])).any())


def colours_of(clip: Clip) -> NDArray[np.int8]:
    """For each pixel the number of its figure colour, or -1; int8 [frames, 64, 96]."""
    pixels = clip.astype(np.float32)
    high, low = pixels.max(axis=-1), pixels.min(axis=-1)
    vivid = (high > 140) & ((high - low) > 0.54 * high)
    # Brightness is left out: soft outlines are darker shades of the figure's own colour.
    palette = np.asarray(list(COLOURS.values()), np.float32)
    palette /= palette.max(axis=1, keepdims=True)
    labels = np.full(clip.shape[:3], -1, np.int8)
    shades = pixels[vivid] / high[vivid][:, None]
    away = ((shades[:, None] - palette[None]) ** 2).sum(axis=-1)
    near = away.argmin(axis=1).astype(np.int8)
    near[away.min(axis=1) > 0.3**2] = -1
    labels[vivid] = near
    return labels


def _present(labels: NDArray[np.int8]) -> dict[str, Mask]:
    """The masks of the one or two colours that figures have, the largest first."""
    masks = {name: _held(labels == i) for i, name in enumerate(COLOURS)}
    usual = {name: float(np.percentile(mask.sum(axis=(1, 2)), 70)) for name, mask in masks.items()}
    order = sorted(masks, key=lambda name: -usual[name])[:2]
    least = max(SMALLEST_AREA, 0.04 * usual[order[0]])
    return {name: masks[name] for name in order if usual[name] > least}


def _held(mask: Mask) -> Mask:
    """What is near the largest compact blob of every frame; nothing where none is compact.

    A band in the sky or a rim around a figure has a figure's colour and is none, and so are specks
    of another figure's soft edges.
    """
    import cv2

    held = np.zeros_like(mask)
    for frame, kept in zip(mask, held, strict=True):
        if frame.sum() <= SMALLEST_AREA:
            continue
        joined = cv2.dilate(frame.astype(np.uint8), np.ones((3, 3), np.uint8))
        _, blobs, boxes, _ = cv2.connectedComponentsWithStats(joined)
        areas = np.bincount(blobs[frame], minlength=len(boxes))
        # Without the pixel on either side by which they were joined.
        extent = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) - 2
        areas[areas < COMPACT * extent**2] = 0
        best = int(areas.argmax())
        if areas[best] == 0:
            continue
        rows, columns = np.nonzero(frame)
        inside = blobs[rows, columns] == best
        limit = 1.45 * np.sqrt(areas[best]) + 1
        near = np.abs(rows - np.median(rows[inside])) <= limit
        near &= np.abs(columns - np.median(columns[inside])) <= limit
        kept[rows[near], columns[near]] = True
    return held


def track(mask: Mask) -> Track:
    """Centre and area per frame; NaN where too little is seen."""
    area = mask.sum(axis=(1, 2)).astype(np.float64)
    seen = np.where(area > SMALLEST_AREA, area, np.nan)
    x = (mask.sum(axis=1) * (np.arange(mask.shape[2]) + 0.5)).sum(axis=1) / seen
    y = (mask.sum(axis=2) * (np.arange(mask.shape[1]) + 0.5)).sum(axis=1) / seen
    return x, y, seen


def _whole(mask: Mask) -> NDArray[np.bool_]:
    """Frames in which a figure is seen and touches no side of the picture."""
    edge = mask[:, :1].any(axis=(1, 2)) | mask[:, -1:].any(axis=(1, 2))
    edge |= mask[:, :, :1].any(axis=(1, 2)) | mask[:, :, -1:].any(axis=(1, 2))
    whole: NDArray[np.bool_] = ~edge & (mask.sum(axis=(1, 2)) > SMALLEST_AREA)
    return whole


def shape_of(mask: Mask) -> str | None:
    """The shape whose drawn silhouette is most like the mask [frames, 64, 96]."""
    frames = np.flatnonzero(_whole(mask))
    if len(frames) == 0:
        frames = np.flatnonzero(mask.sum(axis=(1, 2)) > SMALLEST_AREA)
    if len(frames) == 0:
        return None
    # The largest silhouettes say most, and are not hidden behind another figure.
    areas = mask[frames].sum(axis=(1, 2))
    frames = frames[areas >= np.percentile(areas, 60)]
    frames = frames[:: max(1, len(frames) // 10)]
    scores = dict.fromkeys(SHAPES, 0.0)
    for frame in frames:
        sight = _framed(mask[frame])
        for shape, drawn in _silhouettes():
            both = np.minimum(sight, drawn).sum() / np.maximum(sight, drawn).sum()
            scores[shape] += float(both) ** 4
    return max(scores, key=lambda shape: scores[shape])


def _framed(mask: Mask, size: int = 28) -> NDArray[np.float32]:
    """The mask around its centroid, `size` pixels for five standard deviations, on either axis.

    Not its bounding box: a model's squares may be oblong or have a spur, and in a box that is wider
    than the rest they would pass for circles.
    """
    import cv2

    rows, columns = np.nonzero(mask)
    steps = ((np.arange(size) + 0.5) / size - 0.5) * 5
    across, along = np.meshgrid(
        columns.mean() + steps * columns.std(), rows.mean() + steps * rows.std()
    )
    framed = cv2.remap(
        mask.astype(np.float32),
        across.astype(np.float32),
        along.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return np.asarray(framed, np.float32)


@lru_cache(maxsize=1)
def _silhouettes() -> list[tuple[str, NDArray[np.float32]]]:
    """Drawn silhouettes of every shape, small and large, as the colour reader sees them."""
    drawn = []
    for shape in SHAPES:
        for radius in (7.0, 9.0, 12.0, 16.0, 20.0):
            figure = Figure(shape, "red", radius, 48.2, 32.3)
            scene = Scene(1, (figure,), (Turn(0, ("rest",)),), "snow", "day", "static")
            drawn.append((shape, _framed(colours_of(world.draw(scene, 1))[0] == 0)))
    return drawn


def place_of(clip: Clip, labels: NDArray[np.int8]) -> tuple[str, str]:
    """Place and light: the drawn backdrops that are most alike, by the colours of three bands."""
    frames = np.linspace(0, len(clip) - 1, 7).astype(int)
    behind = ~_wider(labels[frames] >= 0, 3)
    sight = _bands(clip[frames], behind)
    votes: dict[tuple[str, str], float] = {}
    for name, known in _backdrops():
        away = float(((sight - known) ** 2).sum())
        votes[name] = min(away, votes.get(name, np.inf))
    return min(votes, key=lambda name: votes[name])


def _bands(clip: Clip, behind: Mask) -> Numbers:
    """Mean and spread of colour in the sky, at the horizon and on the ground."""
    features: list[float] = []
    for top, bottom in ((0, 14), (20, 36), (48, 64)):
        seen = clip[:, top:bottom][behind[:, top:bottom]].astype(np.float64)
        if len(seen) < 20:
            seen = clip[:, top:bottom].reshape(-1, 3).astype(np.float64)
        features += [*seen.mean(axis=0), *(0.5 * seen.std(axis=0))]
    return np.asarray(features)


@lru_cache(maxsize=1)
def _backdrops() -> list[tuple[tuple[str, str], Numbers]]:
    known = []
    for place in PLACES:
        for light in LIGHTS:
            for seed, camera in enumerate(("static", "tilt up", "tilt down", "zoom in")):
                for start in (0, 50):
                    scene = Scene(9 + seed, (), (Turn(0, ()),), place, light, camera)
                    clip = world.draw(scene, 1, start)
                    known.append(((place, light), _bands(clip, np.ones(clip.shape[:3], bool))))
    return known


def _wider(mask: Mask, by: int) -> Mask:
    """The mask grown by some pixels to all sides."""
    wide = mask.copy()
    for axis in (1, 2):
        for _ in range(by):
            grown = wide.copy()
            ahead = [slice(None)] * 3
            back = [slice(None)] * 3
            ahead[axis], back[axis] = slice(1, None), slice(None, -1)
            grown[tuple(ahead)] |= wide[tuple(back)]
            grown[tuple(back)] |= wide[tuple(ahead)]
            wide = grown
    return wide


def camera_rates(clip: Clip, labels: NDArray[np.int8]) -> tuple[float, float, float]:
    """The backdrop's mean motion per frame: pixels to the right, pixels down, growth."""
    step = 2
    grey = clip.astype(np.float32) @ np.asarray((0.35, 0.4, 0.25), np.float32)
    for axis in (1, 2):
        for _ in range(2):
            twice = np.roll(grey, 1, axis) + 2 * grey + np.roll(grey, -1, axis)
            grey = (twice / 4).astype(np.float32)
    behind = ~_wider(labels >= 0, 4)
    first, second = grey[:-step], grey[step:]
    middle = (first + second) / 2
    slope_y, slope_x = np.gradient(middle, axis=1), np.gradient(middle, axis=2)
    inner = np.zeros(behind.shape[1:], bool)
    inner[3:-3, 3:-3] = True
    use = behind[:-step] & behind[step:] & inner
    rows, columns = np.mgrid[: clip.shape[1], : clip.shape[2]].astype(np.float32)
    rows, columns = rows - clip.shape[1] / 2 + 0.5, columns - clip.shape[2] / 2 + 0.5
    growth = slope_x * columns + slope_y * rows
    sides = np.stack([slope_x[use], slope_y[use], growth[use]])
    change = (second - first)[use]
    # A little stiffness: where nothing upright is seen, nothing moves sideways.
    stiff = np.diag([2e-2, 2e-2, 2e-2 * 400.0]) * sides.shape[1]
    dx, dy, grown = -np.linalg.solve(sides @ sides.T + stiff, sides @ change) / step
    return float(dx), float(dy), float(grown)


def camera_of(clip: Clip, labels: NDArray[np.int8]) -> str:
    """The camera move, one of `world.CAMERAS`."""
    dx, dy, grown = camera_rates(clip, labels)
    settled = (1 - np.exp(-len(clip) / world.CAMERA_SETTLE)) / len(clip)
    rates = {
        "pan": -dx / world.PAN,
        "tilt": dy / (world.TILT * settled),
        "zoom": grown / (np.log(world.ZOOM) * settled),
    }
    move = max(rates, key=lambda name: abs(rates[name]))
    if abs(rates[move]) < 0.3:
        return CAMERAS[0]
    ways = {"pan": ("right", "left"), "tilt": ("up", "down"), "zoom": ("in", "out")}
    return f"{move} {ways[move][0 if rates[move] > 0 else 1]}"


def action_of(track: Track, others: list[Track], camera: str) -> str | None:
    """What a figure does, from its track; None where it is hardly seen."""
    x, y, area = track
    seen = np.isfinite(x)
    if seen.sum() < 12:
        return None
    size = np.sqrt(area)
    if "zoom" in camera:
        zoom = size / np.nanmedian(size)
        x = world.WIDTH / 2 + (x - world.WIDTH / 2) / zoom
        y = world.HEIGHT / 2 + (y - world.HEIGHT / 2) / zoom
        whole, grown = seen, 0.0
    else:
        whole = seen & (area > 0.75 * np.nanpercentile(area, 50))
        grown = _growth(size, _inside(track, others))
    if others and _swapped(track, others[0]):
        return "swap"
    across, along = _course(x, whole), _course(y, whole)
    loops = min(_swing(each, world.LOOP_FRAMES) for each in (across, along))
    if loops > 2.4 and not others_cross(track, others):
        return "circle"
    speed = _speed(across)
    if _swing(along, world.HOP_FRAMES) > 1.8 and abs(speed) < 0.3:
        return "bounce"
    right, down = speed / world.ACROSS, _speed(along) / world.ALONG
    grown /= GROWTH
    # Each by what the world draws: who goes up and shrinks a little on the way goes up.
    strengths = dict(right=right, left=-right, down=down, up=-down, grow=grown, shrink=-grown)
    action = max(strengths, key=lambda name: strengths[name])
    return action if strengths[action] > 0.45 else "rest"


def others_cross(track: Track, others: list[Track]) -> bool:
    """Whether another figure passes in front of this one, which makes its centre seem to sway."""
    if not others:
        return False
    apart = np.hypot(track[0] - others[0][0], track[1] - others[0][1])
    return bool(np.nanmin(apart) < 0.6 * np.sqrt(np.nanmedian(track[2])))


def _inside(track: Track, others: list[Track]) -> NDArray[np.bool_]:
    """Frames in which a figure is wholly in the picture and none is before it: half hidden is not
    half as large."""
    x, y, area = track
    size = np.sqrt(area)
    inside = np.isfinite(x)
    for at, side in ((x, world.WIDTH), (y, world.HEIGHT)):
        inside &= (at > 0.6 * size) & (at < side - 0.6 * size)
    for other in others:
        apart = np.hypot(x - other[0], y - other[1])
        inside &= ~(apart < TOUCHING * (size + np.sqrt(other[2])))
    return inside


def _growth(size: Numbers, inside: NDArray[np.bool_]) -> float:
    """How much larger a figure becomes, as a logarithm; 0 where it is hardly seen."""
    held = size[inside]
    if len(held) < 12:
        return 0.0
    tenth = max(3, len(held) // 8)
    return float(np.log(np.median(held[-tenth:]) / np.median(held[:tenth])))


def _swapped(one: Track, other: Track) -> bool:
    """Whether two figures went to each other's side, both of them."""
    both = np.flatnonzero(np.isfinite(one[0]) & np.isfinite(other[0]))
    if len(both) < 12:
        return False
    part = max(3, len(both) // 6)
    before, after = both[:part], both[-part:]
    went = [float(np.median(t[0][after]) - np.median(t[0][before])) for t in (one, other)]
    return min(abs(w) for w in went) > 12 and went[0] * went[1] < 0


def _course(position: Numbers, whole: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Frames in which a figure is whole, and how far it has come by then; the jump from one side to
    the other doesn't count."""
    at = np.flatnonzero(whole)
    steps = np.diff(position[at])
    steps = np.where(np.abs(steps) > 12, 0.0, steps)
    return at.astype(np.float64), np.concatenate([[0.0], np.cumsum(steps)])[: len(at)]


def _speed(course: tuple[Numbers, Numbers]) -> float:
    """Pixels per frame, all along: a figure that comes forward in jerks comes forward."""
    at, come = course
    return float(np.polyfit(at, come, 1)[0]) if len(at) >= 12 else 0.0


def _swing(course: tuple[Numbers, Numbers], period: int) -> float:
    """How far a figure swings around its straight course once in `period` frames, as a standard
    deviation; 0 where most of its swaying has another rhythm."""
    at, come = course
    if len(at) < 12:
        return 0.0
    angle = 2 * np.pi * at / period
    straight = np.stack([np.ones_like(at), at], axis=1)
    swinging = np.concatenate([straight, np.cos(angle)[:, None], np.sin(angle)[:, None]], axis=1)
    rest, less = (
        float(np.var(come - each @ np.linalg.lstsq(each, come, rcond=None)[0]))
        for each in (straight, swinging)
    )
    return float(np.sqrt(rest - less)) if less < 0.5 * rest else 0.0


def psnr(a: Clip, b: Clip) -> float:
    """Peak signal-to-noise ratio in dB, over all numbers of two equal-sized pictures or clips."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 1e-10)))
