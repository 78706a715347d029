from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.pipeline import SlateSection
from storyflow.renderer import Given, History, SegmentSpec
from storyflow.slate import SlateRenderer, make_label

SPEC = SegmentSpec(96, 64, 33, 17, 1, make_label("1C", 1, "he wipes the lens", 192))
SIZES = [(480, 272), (96, 64), (960, 544), (64, 48), (32, 16), (16, 512)]


@dataclass
class Frames:
    chunks: list[NDArray[np.uint8]] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)

    def regained(self, chunk: NDArray[np.uint8]) -> None:
        raise AssertionError("the slate decodes no history")

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        self.chunks.append(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        raise AssertionError("the slate has no latents")

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))


def history(spec: SegmentSpec, value: int = 0) -> History:
    return History(np.full((spec.overlap, spec.height, spec.width, 3), value, np.uint8))


def draw(
    spec: SegmentSpec, past: History | None = None, config: SlateSection | None = None
) -> NDArray[np.uint8]:
    sink = Frames()
    if past is None and spec.overlap:
        past = history(spec)
    SlateRenderer(config or SlateSection()).render(spec, None, None, Given(past), sink)
    return np.concatenate(sink.chunks)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_new_frame_is_drawn_at_any_size(width: int, height: int) -> None:
    spec = replace(SPEC, width=width, height=height)
    frames = draw(spec)
    assert frames.shape == (16, height, width, 3) and frames.dtype == np.uint8
    assert frames.std() > 3


def test_a_frame_differs_from_the_next() -> None:
    frames = draw(replace(SPEC, window=97))
    assert all((a != b).any() for a, b in pairwise(frames))


def test_the_same_arguments_make_the_same_pixels_whatever_the_script_says() -> None:
    config = SlateSection(delay=0.01, steps=2, fail={"9Z/0": -1}, die={"9Z/0": -1})
    assert (draw(SPEC) == draw(SPEC, config=config)).all()


@pytest.mark.parametrize(
    "other",
    [
        make_label("1D", 1, "he wipes the lens", 192),
        make_label("1C", 2, "he wipes the lens", 192),
        make_label("1C", 1, "he breaks the lens", 192),
        make_label("1C", 1, "he wipes the lens", 193),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(480, 272), (32, 16)])
def test_shot_beat_action_and_time_are_in_the_picture(other: str, width: int, height: int) -> None:
    spec = replace(SPEC, width=width, height=height)
    assert (draw(spec) != draw(replace(spec, label=other))).any()


def test_another_history_shows() -> None:
    assert (draw(SPEC, history(SPEC, 0))[0] != draw(SPEC, history(SPEC, 1))[0]).any()


def test_two_segments_of_a_shot_continue_each_other() -> None:
    # The clock and the timecode of frame 208 are the same, whichever segment draws it.
    long = draw(replace(SPEC, window=49))[16]
    short = draw(replace(SPEC, window=49, label=make_label("1C", 1, "he wipes the lens", 208)))[0]
    bar = 64 - 3 - 2 - 2
    assert (long[2:bar] == short[2:bar]).all()


@pytest.mark.parametrize("past", [None, History(np.zeros((3, 64, 96, 3), np.uint8))])
def test_a_history_that_does_not_fit_is_refused(past: History | None) -> None:
    with pytest.raises(SegmentError, match="history"):
        SlateRenderer(SlateSection()).render(SPEC, None, None, Given(past), Frames())


def test_a_label_without_a_start_frame_is_refused() -> None:
    with pytest.raises(SegmentError, match="fourth line"):
        draw(replace(SPEC, label="1C\nbeat 2\nhe waits\nnoon"))


def test_an_empty_label_draws_a_bare_slate() -> None:
    assert draw(replace(SPEC, label="")).shape[0] == 16


def test_line_breaks_in_an_action_do_not_break_the_label() -> None:
    assert make_label("1A", 0, "he\nwaits\n", 0) == "1A\nbeat 1\nhe waits\n0"


def test_steps_are_told() -> None:
    sink = Frames()
    SlateRenderer(SlateSection(steps=3)).render(SPEC, None, None, Given(history(SPEC)), sink)
    assert sink.steps == [(1, 3), (2, 3), (3, 3)]


def test_a_delay_passes_and_keeps_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = [100.0]
    monkeypatch.setattr("storyflow.slate.time.monotonic", lambda: sum(naps))
    monkeypatch.setattr("storyflow.slate.time.sleep", naps.append)
    sink = Frames()
    SlateRenderer(SlateSection(delay=0.2, steps=1)).render(
        SPEC, None, None, Given(history(SPEC)), sink
    )
    assert sum(naps) == pytest.approx(100.2) and len(sink.steps) > 2


@pytest.mark.parametrize(
    ("script", "attempt", "fails"),
    [({"1C/2": 2}, 1, True), ({"1C/2": 2}, 3, False), ({"1C/2": -1}, 9, True), ({}, 1, False)],
)
def test_scripted_failures_follow_name_and_attempt(
    script: dict[str, int], attempt: int, fails: bool
) -> None:
    renderer = SlateRenderer(SlateSection(fail=script))
    renderer.cue("1C/2", attempt, lambda: None)
    sink = Frames()
    if fails:
        with pytest.raises(RuntimeError, match="as scripted"):
            renderer.render(SPEC, None, None, Given(history(SPEC)), sink)
        assert len(sink.chunks) == 1, "it fails in the middle"
    else:
        renderer.render(SPEC, None, None, Given(history(SPEC)), sink)


def test_a_scripted_death_calls_for_the_end() -> None:
    renderer, calls = SlateRenderer(SlateSection(die={"1C/2": 1})), []
    renderer.cue("1C/2", 1, lambda: calls.append("dead"))
    renderer.render(SPEC, None, None, Given(history(SPEC)), Frames())
    assert calls == ["dead"]


def behind(given: Given, window: int = 33, overlap: int = 0) -> NDArray[np.uint8]:
    sink = Frames()
    spec = replace(SPEC, window=window, overlap=overlap)
    SlateRenderer(SlateSection()).render(spec, None, None, given, sink)
    return np.concatenate(sink.chunks)


def test_a_start_picture_stands_dimmed_behind_the_text() -> None:
    plain, shown = behind(Given()), behind(Given(start=np.full((64, 96, 3), 200, np.uint8)))
    field = shown[:, 20:40, 30:60]
    assert field.min() >= 90 and np.median(field) == 90
    assert (shown >= plain).all(), "whatever is brighter is still read"
    stripe, bar = slice(0, 1), slice(-3, None)
    assert (shown[:, stripe] == plain[:, stripe]).all() and (shown[:, bar] == plain[:, bar]).all()


def test_one_picture_turns_into_the_other() -> None:
    start, end = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)
    start[..., 0], end[..., 2] = 255, 255
    frames = behind(Given(start=start, end=end))
    red, blue = (np.median(frames[..., band].reshape(33, -1), axis=1) for band in (0, 2))
    assert red[0] > 100 > red[-1] and blue[-1] > 100 > blue[0]
    assert all(a >= b for a, b in pairwise(red)) and all(a <= b for a, b in pairwise(blue))


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(SegmentError, match="end picture must be"):
        behind(Given(end=np.zeros((64, 48, 3), np.uint8)))
