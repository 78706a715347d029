"""The toy world: five shapes with eyes in five places, drawn from a description, without assets.

`draw` turns a `Scene` into frames: anti-aliased, 96x64 pixels, 24 frames per second. Every motion
goes on for ever or settles, so a window of frames may begin anywhere and a chain of windows may be
as long as a film. Figures move on the screen; the camera moves what is behind them (it travels
with them), only a zoom enlarges both. Figures are saturated and outlined, places are pale: that is
what lets `measure` read a clip back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storyflow.toybox.places import PANORAMA, Panorama, panorama
from storyflow.toybox.shapes import SHAPES, SOFT, coverage

WIDTH: Final = 96
HEIGHT: Final = 64

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (228, 38, 42),
    "orange": (250, 138, 18),
    "yellow": (250, 222, 30),
    "green": (38, 186, 64),
    "teal": (18, 200, 200),
    "blue": (40, 82, 236),
    "purple": (142, 52, 220),
    "pink": (255, 66, 172),
}
OUTLINE_SHADE: Final = 0.5
"""How bright the outline is, compared with the colour that it runs around."""
EYE, PUPIL, EYES_APART = 0.25, 0.15, 0.34
"""In radii of the figure."""
EYE_WHITE: Final = (250, 250, 250)
EYE_DARK: Final = (34, 28, 40)
VIEWS: Final = 32
"""How many views each place has."""
LIGHTS: Final = ("day", "dusk", "night")
CAMERAS: Final = ("static", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out")
ACTIONS: Final = (
    "left",
    "right",
    "up",
    "down",
    "rest",
    "bounce",
    "circle",
    "grow",
    "shrink",
    "swap",
)
SIZES: Final[dict[str, float]] = {"long_shot": 8.5, "medium_shot": 12.0, "close_up": 17.0}

ACROSS = 0.5
"""Pixels per frame to the left and right."""
ALONG = 0.32
"""Pixels per frame up and down."""
PAN = 0.6
HOP_FRAMES, HOP_HEIGHT = 24, 12.0
LOOP_FRAMES, LOOP_RADIUS = 72, 10.0
SWAP_FRAMES, SWAP_REST, SWAP_HEIGHT = 60, 36, 11.0
BIGGEST, SMALLEST, SETTLE = 21.0, 6.5, 45.0
TILT, ZOOM, CAMERA_SETTLE = 14.0, 1.8, 50.0


@dataclass(frozen=True)
class Figure:
    """One subject. `x`, `y` and `radius` are pixels on the screen at frame 0, the centre's."""

    shape: str
    colour: str
    radius: float
    x: float
    y: float


@dataclass(frozen=True)
class Turn:
    """From `frame` on, each figure does its action."""

    frame: int
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """All that is drawn. `seed` places trees, boats and stars; `pace` scales the figures' speed."""

    seed: int
    figures: tuple[Figure, ...]
    turns: tuple[Turn, ...]
    place: str
    light: str
    camera: str
    size: str | None = None
    pace: float = 1.0

    def actions(self, frame: int) -> tuple[str, ...]:
        """What the figures do at a frame."""
        return [turn.actions for turn in self.turns if turn.frame <= frame][-1]


@dataclass(frozen=True)
class Tracks:
    """Where everything is: `x`, `y`, `radius` float [figures, frames]; `pan`, `tilt`, `zoom`
    float [frames], the camera's in pixels and as a factor."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    pan: NDArray[np.float64]
    tilt: NDArray[np.float64]
    zoom: NDArray[np.float64]


def tracks(scene: Scene, frames: int) -> Tracks:
    """The positions of frames 0 to `frames` - 1."""
    count = len(scene.figures)
    x, y, radius = (np.zeros((count, frames)) for _ in range(3))
    state = [(figure.x, figure.y, figure.radius) for figure in scene.figures]
    hop = np.zeros(count)
    ends = [turn.frame for turn in scene.turns[1:]] + [frames]
    for turn, end in zip(scene.turns, ends, strict=True):
        last = min(end, frames)
        if turn.frame >= last:
            break
        # One frame more than the turn lasts: the next turn starts where this one would go on.
        time = np.arange(last - turn.frame + 1, dtype=np.float64)
        before = list(state)
        for i, action in enumerate(turn.actions):
            px, py, pr, lift = _motion(action, time, before, i, scene.pace)
            # A hop cut off by the turn falls to the ground within a few frames.
            lift = lift + hop[i] * np.exp(-time / 4) * (action != "bounce" or hop[i] != 0)
            span = slice(turn.frame, last)
            x[i, span], y[i, span], radius[i, span] = px[:-1], (py + lift)[:-1], pr[:-1]
            state[i] = (float(px[-1]), float(py[-1]), float(pr[-1]))
            hop[i] = lift[-1]
    time = np.arange(frames, dtype=np.float64)
    settled = 1 - np.exp(-time / CAMERA_SETTLE)
    still = np.zeros(frames)
    pan = {"pan right": PAN * time, "pan left": -PAN * time}.get(scene.camera, still)
    tilt = {"tilt up": -TILT * settled, "tilt down": TILT * settled}.get(scene.camera, still)
    zoom = {
        "zoom in": 1 + (ZOOM - 1) * settled,
        "zoom out": ZOOM - (ZOOM - 1) * settled,
    }.get(scene.camera, still + 1)
    return Tracks(x, y, radius, pan, tilt, zoom)


def draw(scene: Scene, frames: int, start: int = 0) -> NDArray[np.uint8]:
    """Frames `start` to `start + frames` - 1, uint8 [frames, 64, 96, 3], RGB."""
    where = tracks(scene, start + frames + 1)
    cut = slice(start, start + frames)
    picture = _backdrop(scene, where, cut)
    order = range(len(scene.figures) - 1, -1, -1)
    for i in order:
        zoom = where.zoom[cut]
        middle_x = WIDTH / 2 + (where.x[i, cut] - WIDTH / 2) * zoom
        middle_y = HEIGHT / 2 + (where.y[i, cut] - HEIGHT / 2) * zoom
        speed = np.gradient(where.x[i])[cut], np.gradient(where.y[i])[cut]
        _figure(picture, scene.figures[i], middle_x, middle_y, where.radius[i, cut] * zoom, speed)
    return np.round(picture * 255).astype(np.uint8)


def _motion(
    action: str,
    time: NDArray[np.float64],
    state: list[tuple[float, float, float]],
    which: int,
    pace: float,
) -> tuple[NDArray[np.float64], ...]:
    """x, y, radius and the height of a hop (upwards negative), over `time` from its start."""
    x, y, radius = state[which]
    still = np.zeros_like(time)
    px, py, pr, lift = still + x, still + y, still + radius, still
    if action in ("left", "right"):
        way = ACROSS * pace * (1 if action == "right" else -1)
        px = _wrapped(x + way * time, WIDTH, radius)
    elif action in ("up", "down"):
        way = ALONG * pace * (1 if action == "down" else -1)
        py = _wrapped(y + way * time, HEIGHT, radius)
    elif action == "bounce":
        lift = -HOP_HEIGHT * np.abs(np.sin(np.pi * time / HOP_FRAMES))
    elif action == "circle":
        angle = 2 * np.pi * time / LOOP_FRAMES
        px = x + LOOP_RADIUS * np.sin(angle)
        py = y + LOOP_RADIUS * (1 - np.cos(angle))
    elif action in ("grow", "shrink"):
        goal = max(radius, BIGGEST) if action == "grow" else min(radius, SMALLEST)
        pr = goal - (goal - radius) * np.exp(-time / SETTLE)
    elif action == "swap":
        (ax, ay, _), (bx, by, _) = state[0], state[1]
        middle, reach = ((ax + bx) / 2, (ay + by) / 2), (x - (ax + bx) / 2, y - (ay + by) / 2)
        rounds, within = np.divmod(time, SWAP_FRAMES + SWAP_REST)
        part = np.minimum(within / SWAP_FRAMES, 1)
        angle = np.pi * (rounds + part * part * (3 - 2 * part))
        px = middle[0] + reach[0] * np.cos(angle)
        py = middle[1] + reach[1] * np.cos(angle) - np.sign(reach[0]) * SWAP_HEIGHT * np.sin(angle)
    return px, py, pr, lift


def _wrapped(value: NDArray[np.float64], length: int, radius: float) -> NDArray[np.float64]:
    """Who leaves the picture on one side comes back on the other."""
    margin = radius + 2
    wrapped: NDArray[np.float64] = (value + margin) % (length + 2 * margin) - margin
    return wrapped


def _backdrop(scene: Scene, where: Tracks, cut: slice) -> NDArray[np.float32]:
    """What the camera sees behind the figures, float32 [frames, 64, 96, 3] in 0..1."""
    wide: Panorama = panorama(scene.place, scene.light, scene.seed % VIEWS)
    pan, tilt, zoom = where.pan[cut], where.tilt[cut], where.zoom[cut]
    frames = len(pan)
    if scene.camera == "static":
        frame = _seen(wide, 0.0, 0.0, 1.0)
        return np.repeat(frame[None], frames, axis=0)
    picture = np.empty((frames, HEIGHT, WIDTH, 3), np.float32)
    for i in range(frames):
        picture[i] = _seen(wide, float(pan[i]), float(tilt[i]), float(zoom[i]))
    return picture


def _seen(wide: Panorama, pan: float, tilt: float, zoom: float) -> NDArray[np.float32]:
    """One view of a panorama, interpolated between its pixels; `zoom` is 1 or more."""
    across = (np.arange(WIDTH) + 0.5 - WIDTH / 2) / zoom + pan
    down = (np.arange(HEIGHT) + 0.5 - HEIGHT / 2) / zoom + tilt + PANORAMA.height / 2
    rows, low = _between(down)
    picture = wide[rows] * (1 - low) + wide[rows + 1] * low
    columns, right = _between(across)
    right = right[:, 0]
    seen: NDArray[np.float32] = picture[:, columns % PANORAMA.width] * (1 - right)
    seen += picture[:, (columns + 1) % PANORAMA.width] * right
    return seen


def _between(at: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The pixel before each position, and how far it is to the next one, as [n, 1, 1]."""
    first = np.floor(at - 0.5)
    return first.astype(np.int64), (at - 0.5 - first).astype(np.float32)[:, None, None]


def _figure(
    picture: NDArray[np.float32],
    figure: Figure,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: NDArray[np.float64],
    speed: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Paint one figure into every frame of `picture`, through a square that goes with it."""
    # Points of stars and corners of squares lie outside the circle of the radius.
    reach = int(np.ceil(1.35 * float(radius.max()))) + 3
    left, top = np.floor(x).astype(int) - reach, np.floor(y).astype(int) - reach
    around = np.arange(2 * reach + 1)
    px = (left[:, None] + around + 0.5 - x[:, None]).astype(np.float32)[:, None, :]
    py = (top[:, None] + around + 0.5 - y[:, None]).astype(np.float32)[:, :, None]
    r = radius.astype(np.float32)[:, None, None]
    colour = COLOURS[figure.colour]
    paint = np.zeros((*np.broadcast_shapes(px.shape, py.shape), 3), np.float32)
    paint[:] = np.asarray(colour, np.float32) / 255 * OUTLINE_SHADE
    _blend(paint, coverage(figure.shape, px, py, r, -0.9), colour)
    look_x, look_y = (
        np.clip(v * 0.4, -0.12, 0.12).astype(np.float32)[:, None, None] * r for v in speed
    )
    height = SHAPES[figure.shape].eyes
    for side in (-EYES_APART, EYES_APART):
        ex, ey = px - side * r, py - height * r
        _blend(paint, _disc(ex, ey, EYE * r), EYE_WHITE)
        _blend(paint, _disc(ex - look_x, ey - look_y, PUPIL * r), EYE_DARK)
    cover = coverage(figure.shape, px, py, r, 0.7)[..., None]
    for i in range(len(picture)):
        rows = slice(max(0, top[i]), min(HEIGHT, top[i] + len(around)))
        columns = slice(max(0, left[i]), min(WIDTH, left[i] + len(around)))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        inner = (
            i,
            slice(rows.start - top[i], rows.stop - top[i]),
            slice(columns.start - left[i], columns.stop - left[i]),
        )
        part = picture[i, rows, columns]
        part += cover[inner] * (paint[inner] - part)


def _disc(
    x: NDArray[np.float32], y: NDArray[np.float32], radius: NDArray[np.float32]
) -> NDArray[np.float32]:
    inside: NDArray[np.float32] = np.clip(0.5 + (radius - np.sqrt(x * x + y * y)) / SOFT, 0, 1)
    return inside


def _blend(
    part: NDArray[np.float32], cover: NDArray[np.float32], colour: tuple[int, int, int]
) -> None:
    paint = np.asarray(colour, np.float32) / 255
    part += cover[..., None] * (paint - part)
