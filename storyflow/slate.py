"""The slate: a renderer that draws instead of dreaming, without torch.

It writes shot, beat, action and running timecode on a dark frame, so that a storyboard can be timed
as an animatic before any GPU is paid for. It is also the test double for everything that runs
renderers: delays, failures and deaths can be scripted (`slate:` in a profile), and every picture
says what it was made from:

- the clock hand and the timecode follow the frame's position in the shot, so a jump is visible;
- the bar at the foot is the segment's window: amber is the history it read, then its new frames;
- the stripe at the head is a checksum: four colours of the label, which a small frame has no room
  to spell out, and twelve of the history's pixels;
- a picture that the segment starts from or ends on stands dimmed behind the text, the one turning
  into the other while the segment lasts.

A picture depends on the spec and on what is given alone; scripts never change it.
"""

from __future__ import annotations

import colorsys
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from storyflow.errors import SegmentError
from storyflow.pipeline import SlateSection
from storyflow.renderer import Given, History, SegmentSpec, Sink
from storyflow.timing import timecode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 16
"""Frames handed to the sink at a time."""

_PAPER = (19, 21, 27)
_INK = (236, 233, 224)
_DIM = (128, 132, 144)
_TRACK = (44, 48, 60)
_AMBER = (222, 156, 62)
_DIMMED = 0.45
"""How bright a picture stands behind the text."""
_HANDS = 48
"""Positions of the clock hand in one turn."""


def make_label(shot: str, beat: int, action: str, start: int) -> str:
    """The label of a segment that starts at frame `start` of its shot; `beat` counts from 0."""
    flat = " ".join(action.split())
    return f"{shot}\nbeat {beat + 1}\n{flat}\n{start}"


@dataclass(frozen=True)
class _Label:
    shot: str
    beat: str
    action: str
    start: int


def _read_label(text: str) -> _Label:
    lines = [*text.split("\n"), "", "", "", ""]
    try:
        start = int(lines[3] or 0)
    except ValueError:
        raise SegmentError(
            f"the slate's label must name the start frame in its fourth line, got {lines[3]!r}",
            cure="make labels with storyflow.slate.make_label",
        ) from None
    return _Label(lines[0], lines[1], lines[2], start)


def die_at_once() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class SlateRenderer:
    """Implements `Renderer`; `fps` is what the timecode counts at."""

    def __init__(self, config: SlateSection, fps: Fraction = Fraction(24)) -> None:
        self._config = config
        self._fps = fps
        self._name = ""
        self._attempt = 1
        self._die: Callable[[], None] = die_at_once

    def setup(self) -> None:
        """Nothing to load."""

    def numerics(self) -> str:
        """The library that draws the letters."""
        import PIL

        return f"cpu, pillow {PIL.__version__}"

    def close(self) -> None:
        """Nothing to give back."""

    def cue(self, name: str, attempt: int, die: Callable[[], None]) -> None:
        """Announce the next segment by name, for the scripts; `die` ends its worker."""
        self._name, self._attempt, self._die = name, attempt, die

    def render(
        self,
        spec: SegmentSpec,
        prompt: NDArray[np.float32] | None,
        negative: NDArray[np.float32] | None,
        given: Given,
        sink: Sink,
    ) -> None:
        """Draw one segment. Raises SegmentError for what is given and doesn't fit the spec."""
        _check(spec, given)
        for step in range(self._config.steps):
            for _ in _naps(self._config.delay / self._config.steps):
                sink.step(step, self._config.steps)
            sink.step(step + 1, self._config.steps)
        for index, chunk in enumerate(_chunks(spec, given, self._fps)):
            sink.frames(chunk)
            if index == 0:
                self._follow_script()

    def _follow_script(self) -> None:
        if _acts(self._config.die, self._name, self._attempt):
            self._die()
        if _acts(self._config.fail, self._name, self._attempt):
            raise RuntimeError(f"{self._name} fails in attempt {self._attempt}, as scripted")


def _acts(script: dict[str, int], name: str, attempt: int) -> bool:
    times = script.get(name, 0)
    return times < 0 or attempt <= times


def _naps(seconds: float) -> Iterator[None]:
    """Sleep in short naps, so that a run can be stopped in between."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
        yield


def _check(spec: SegmentSpec, given: Given) -> None:
    history, size = given.history, (spec.height, spec.width, 3)
    if history is None:
        if spec.overlap:
            raise SegmentError(f"the segment needs {spec.overlap} history frames, got none")
    elif history.pixels.shape != (spec.overlap, *size):
        wanted = (spec.overlap, *size)
        raise SegmentError(f"the history must be {wanted}, got {history.pixels.shape}")
    for name, picture in (("start", given.start), ("end", given.end)):
        if picture is not None and picture.shape != size:
            raise SegmentError(f"the {name} picture must be {size}, got {picture.shape}")


def _chunks(spec: SegmentSpec, given: Given, fps: Fraction) -> Iterator[NDArray[np.uint8]]:
    """The new frames of a segment, uint8 [up to CHUNK, height, width, 3]."""
    import numpy as np

    label = _read_label(spec.label)
    layout = _Layout(spec.width, spec.height)
    still = _still(spec, label, layout)
    _stripe(still, layout, spec.label, given.history)
    accent = _accent(label.shot)
    hands = _hands(layout.dial, accent)
    foot = layout.bar
    for begin in range(0, spec.new, CHUNK):
        size = min(CHUNK, spec.new - begin)
        chunk = np.repeat(still[None], size, axis=0)
        for picture, index in zip(chunk, range(begin, begin + size), strict=True):
            frame = label.start + index
            _paste(picture, hands[frame * 2 % _HANDS], layout.dial_at)
            _write_timecode(picture, timecode(frame, fps), layout)
            reached = foot.x + foot.width * (spec.overlap + index + 1) // spec.window
            first = foot.x + foot.width * spec.overlap // spec.window
            picture[foot.y : foot.y + foot.height, first:reached] = accent
            picture[foot.y - 1 : foot.y + foot.height + 1, max(reached - 2, foot.x) : reached] = (
                _INK
            )
            _put_behind(picture, given, index / max(spec.new - 1, 1), layout)
        yield chunk


def _put_behind(picture: NDArray[np.uint8], given: Given, part: float, layout: _Layout) -> None:
    """Let what is given show, dimmed, wherever nothing brighter is drawn; between the stripe and
    the bar, which are to be read. `part` of the segment is over."""
    import numpy as np

    weights = ((given.start, 1 - part if given.end is not None else 1.0), (given.end, part))
    shown = [p.astype(np.float32) * (weight * _DIMMED) for p, weight in weights if p is not None]
    if shown:
        open_to_view = slice(layout.stripe, layout.bar.y - 1)
        behind = np.rint(sum(shown)).astype(np.uint8)[open_to_view]
        np.maximum(picture[open_to_view], behind, out=picture[open_to_view])


@dataclass(frozen=True)
class _Box:
    x: int
    y: int
    width: int
    height: int


class _Layout:
    """Where things stand, for a frame of any size."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.margin = max(1, min(max(3, height // 18), width // 12))
        self.title = min(max(14, height // 4), max(8, width // 3))
        self.text = max(8, height // 17)
        self.clock = max(10, height // 11)
        self.dial = min(max(12, height // 4), width // 3)
        self.dial_at = (width - self.margin - self.dial, self.margin + 2)
        bar = max(2, height // 45)
        self.bar = _Box(self.margin, height - self.margin - bar, width - 2 * self.margin, bar)
        self.clock_at = (self.margin, self.bar.y - self.clock - max(2, height // 45))
        self.stripe = max(2, height // 90)
        self.text_at = (self.margin, self.margin + self.title + max(1, height // 40))


def _still(spec: SegmentSpec, label: _Label, layout: _Layout) -> NDArray[np.uint8]:
    """What doesn't move: shot, beat, action and the empty bar, uint8 [height, width, 3]."""
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (layout.width, layout.height), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.fontmode = "L"
    room = layout.dial_at[0] - 2 * layout.margin
    size = layout.title
    while size > 8 and draw.textlength(label.shot, font=_font(size)) > room:
        size -= 2
    draw.text(
        (layout.margin, layout.margin + layout.title),
        label.shot,
        font=_font(size),
        fill=_accent(label.shot),
        anchor="ls",
    )
    _write_text(draw, label, layout)
    bar = layout.bar
    corner = (bar.x + bar.width - 1, bar.y + bar.height - 1)
    draw.rectangle((bar.x, bar.y, *corner), fill=_TRACK)
    if spec.overlap:
        stop = bar.x + bar.width * spec.overlap // spec.window
        draw.rectangle((bar.x, bar.y, stop - 1, corner[1]), fill=_AMBER)
    return np.array(image, dtype=np.uint8)


def _write_text(draw: Any, label: _Label, layout: _Layout) -> None:
    x, y = layout.text_at
    font = _font(layout.text)
    step = layout.text + max(1, layout.text // 4)
    room = layout.width - 2 * layout.margin
    lines = [(label.beat, _DIM)] if label.beat else []
    lines += [(line, _INK) for line in _wrap(draw, label.action, font, room)]
    fitting = max(0, (layout.clock_at[1] - y) // step)
    for text, ink in lines[:fitting]:
        draw.text((x, y), text, font=font, fill=ink)
        y += step


def _wrap(draw: Any, text: str, font: Any, room: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(longer, font=font) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _stripe(still: NDArray[np.uint8], layout: _Layout, label: str, history: History | None) -> None:
    """Sixteen colours along the top edge: four of the label's sha256, twelve of the history's."""
    cells = [*_colours(label.encode(), 4), *([_TRACK] * 12)]
    if history is not None:
        cells[4:] = _colours(history.pixels.tobytes(), 12)
    for number, colour in enumerate(cells):
        left, right = number * layout.width // 16, (number + 1) * layout.width // 16
        still[: layout.stripe, left:right] = colour


def _colours(data: bytes, count: int) -> list[tuple[int, int, int]]:
    digest = hashlib.sha256(data).digest()
    pairs = zip(digest[0::2], digest[1::2], strict=True)
    return [_rgb(hue / 256, 0.55, 0.45 + value / 512) for hue, value in pairs][:count]


def _accent(shot: str) -> tuple[int, int, int]:
    """A shot's own colour, between green and rose, apart from the history's amber."""
    return _rgb(0.33 + 0.6 * hashlib.sha256(shot.encode()).digest()[0] / 256, 0.45, 0.92)


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


@lru_cache(maxsize=32)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _hands(size: int, accent: tuple[int, int, int]) -> tuple[NDArray[np.uint8], ...]:
    """The dial with its hand in every position, uint8 [size, size, 3] each."""
    import numpy as np
    from PIL import Image, ImageDraw

    big = 4 * size  # drawn large and reduced, for smooth edges
    pictures = []
    for position in range(_HANDS):
        image = Image.new("RGB", (big, big), _PAPER)
        draw = ImageDraw.Draw(image)
        rim = max(4, big // 24)
        draw.ellipse((0, 0, big - 1, big - 1), fill=_TRACK)
        turn = 360 * position / _HANDS
        draw.pieslice((rim, rim, big - 1 - rim, big - 1 - rim), turn - 150, turn - 90, fill=accent)
        draw.ellipse((0, 0, big - 1, big - 1), outline=_DIM, width=rim)
        pictures.append(np.array(image.resize((size, size), Image.Resampling.BOX), dtype=np.uint8))
    return tuple(pictures)


@lru_cache(maxsize=16)
def _glyphs(size: int) -> dict[str, NDArray[np.uint8]]:
    """Timecode characters of one width, uint8 [height, width, 3]."""
    import numpy as np
    from PIL import Image, ImageDraw

    font = _font(size)
    wide = max(font.getbbox(digit)[2] for digit in "0123456789")
    narrow = font.getbbox(":")[2] + max(1, size // 8)
    glyphs = {}
    for character in "0123456789:":
        width = narrow if character == ":" else wide
        image = Image.new("RGB", (width, size + size // 4), _PAPER)
        ImageDraw.Draw(image).text((width // 2, size), character, font=font, fill=_INK, anchor="ms")
        glyphs[character] = np.array(image, dtype=np.uint8)
    return glyphs


def _write_timecode(picture: NDArray[np.uint8], text: str, layout: _Layout) -> None:
    x, y = layout.clock_at
    glyphs = _glyphs(layout.clock)
    for character in text:
        glyph = glyphs[character]
        _paste(picture, glyph, (x, y - layout.clock // 4))
        x += glyph.shape[1]


def _paste(picture: NDArray[np.uint8], patch: NDArray[np.uint8], at: tuple[int, int]) -> None:
    """Put a patch at (x, y); what falls outside is cut off."""
    x, y = max(at[0], 0), max(at[1], 0)
    target = picture[y : y + patch.shape[0], x : x + patch.shape[1]]
    target[:] = patch[: target.shape[0], : target.shape[1]]
