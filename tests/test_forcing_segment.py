"""A segment is a pure function of its arguments, and gives exactly the frames it was asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tiny_models
import torch
from numpy.typing import NDArray

from storyflow.errors import SegmentError
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.noise import SeededNoise, stream
from storyflow.forcing.renderer import ForcingRenderer
from storyflow.forcing.vae import to_bytes
from storyflow.renderer import Given, History, Renderer, SegmentSpec

WIDTH, HEIGHT = tiny_models.WIDTH, tiny_models.HEIGHT
PROMPT = np.random.default_rng(1).standard_normal((7, tiny_models.TEXT_DIM)).astype(np.float32)
NEGATIVE = np.random.default_rng(2).standard_normal((2, tiny_models.TEXT_DIM)).astype(np.float32)
CONFIG = ForcingConfig(
    model=str(tiny_models.folder()),
    dtype="float32",
    window=21,
    overlap=9,
    steps=3,
    guidance=3.0,
    history_noise=20,
)


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.back: list[NDArray[np.uint8]] = []
        self.chunks: list[NDArray[np.uint8]] = []
        self.tails: list[NDArray[np.float32]] = []
        self.steps: list[tuple[int, int]] = []

    def regained(self, chunk: NDArray[np.uint8]) -> None:
        assert not self.chunks, "the history comes first"
        self.back.append(chunk)

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        self.chunks.append(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        self.tails.append(chunk)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return np.concatenate(self.chunks)

    def history(self, overlap: int = CONFIG.overlap) -> History:
        return History(self.pixels[-overlap:], self.tails[0][:, -(overlap - 1) // 4 - 1 :])

    def digest(self) -> str:
        return hashlib.sha256(self.pixels.tobytes() + self.tails[0].tobytes()).hexdigest()


@cache
def renderer(config: ForcingConfig = CONFIG) -> ForcingRenderer:
    made = ForcingRenderer(config)
    made.setup()
    return made


def segment(
    window: int = 21,
    seed: int = 4,
    history: History | None = None,
    config: ForcingConfig = CONFIG,
    start: NDArray[np.uint8] | None = None,
    end: NDArray[np.uint8] | None = None,
) -> Kept:
    sink = Kept()
    overlap = 0 if history is None else config.overlap
    spec = SegmentSpec(WIDTH, HEIGHT, window, overlap, seed)
    one: Renderer = renderer(config)
    one.render(spec, PROMPT, NEGATIVE, Given(history, start, end), sink)
    return sink


def picture(seed: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@cache
def past() -> History:
    """The end of a fresh segment."""
    return segment().history()


@cache
def continued() -> str:
    """The digest of a segment after `past()`."""
    return segment(history=past()).digest()


@pytest.mark.parametrize("mode", ["pixels", "latents"])
@pytest.mark.parametrize(("window", "fresh"), [(9, True), (21, True), (13, False), (21, False)])
def test_a_segment_gives_its_new_frames_and_their_latents(
    window: int, fresh: bool, mode: Literal["pixels", "latents"]
) -> None:
    config = dataclasses.replace(CONFIG, history=mode)
    sink = segment(window, history=None if fresh else past(), config=config)
    new = window if fresh else window - 9
    latents = (new + 3) // 4
    assert sink.pixels.shape == (new, HEIGHT, WIDTH, 3) and sink.pixels.dtype == np.uint8
    assert [t.shape for t in sink.tails] == [(16, latents, HEIGHT // 8, WIDTH // 8)]
    assert sink.tails[0].dtype == np.float32
    assert [len(c) for c in sink.chunks] == ([1] if fresh else []) + [4] * (new // 4)
    assert sink.steps == [(1, 3), (2, 3), (3, 3)]
    assert [len(c) for c in sink.back] == ([] if fresh else [1, 4, 4])


def test_a_segment_rendered_alone_equals_itself_in_the_chain() -> None:
    chain = [segment(seed=1)]
    for seed in (2, 3):
        chain.append(segment(seed=seed, history=chain[-1].history()))
    alone = ForcingRenderer(CONFIG)
    sink = Kept()
    alone.render(
        SegmentSpec(WIDTH, HEIGHT, 21, 9, seed=3), PROMPT, NEGATIVE, Given(chain[1].history()), sink
    )
    assert sink.digest() == chain[2].digest()
    assert len({s.digest() for s in chain}) == 3


def test_a_segment_equals_itself_in_another_process_and_another_global_state() -> None:
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); torch.manual_seed(99); torch.rand(7); "
        "import test_forcing_segment as t, dataclasses; from pathlib import Path; "
        "c = dataclasses.replace(t.CONFIG, model=sys.argv[2]); first = t.segment(config=c); "
        "print(t.segment(history=first.history(), config=c).digest())"
    )
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), CONFIG.model]
    there = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    assert there[-1] == continued()


def test_a_render_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # type: ignore[index]
    assert segment(history=past()).digest() == continued()
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index]
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 4},
        {"guidance": 2.0},
        {"guidance": 1.0},
        {"shift": 3.0},
        {"sigmas": "diffusers"},
        {"history": "latents"},
        {"history_noise": 0},
        {"solver_aliasing": True},
        {"dtype": "bfloat16"},
        {"ar_step": 1},
        {"ar_step": 1, "block": 2},
        {"guidance_from": 0.3},
        {"guidance_to": 0.7},
        {"solver": "consistency"},
    ],
)
def test_every_setting_changes_the_pixels_of_a_continuing_segment(
    change: dict[str, object],
) -> None:
    changed = dataclasses.replace(CONFIG, **change)  # type: ignore[arg-type]
    assert segment(history=past(), config=changed).digest() != continued()


def test_seed_prompt_negative_and_history_change_the_pixels() -> None:
    spec = SegmentSpec(WIDTH, HEIGHT, 21, 9, seed=4)
    history = past()
    dark = History(history.pixels // 2, history.latents)
    digests = set()
    for seed, prompt, negative, before in (
        (4, PROMPT, NEGATIVE, history),
        (5, PROMPT, NEGATIVE, history),
        (4, NEGATIVE, NEGATIVE, history),
        (4, PROMPT, PROMPT, history),
        (4, PROMPT, NEGATIVE, dark),
    ):
        sink = Kept()
        changed = dataclasses.replace(spec, seed=seed)
        renderer().render(changed, prompt, negative, Given(before), sink)
        digests.add(sink.digest())
    assert len(digests) == 5


def test_guidance_one_reads_no_negative_prompt() -> None:
    config = dataclasses.replace(CONFIG, guidance=1.0)
    sink = Kept()
    renderer(config).render(SegmentSpec(WIDTH, HEIGHT, 9, 0, 1), PROMPT, None, Given(), sink)
    assert len(sink.pixels) == 9


@pytest.mark.parametrize(
    ("spec", "history", "message"),
    [
        (SegmentSpec(50, 32, 21, 0, 1), None, "50x32 does not divide by 16"),
        (SegmentSpec(48, 0, 21, 0, 1), None, "48x0 does not divide"),
        (SegmentSpec(48, 32, 20, 0, 1), None, "use 17 or 21"),
        (SegmentSpec(48, 32, 25, 0, 1), None, "longer than the 21"),
        (SegmentSpec(48, 32, 21, 5, 1), None, "use 0 for a fresh segment or 9"),
        (SegmentSpec(48, 32, 9, 9, 1), None, "overlap of 9 in a window of 9"),
        (SegmentSpec(48, 32, 21, 9, 1), None, "overlap 9 with no history"),
        (
            SegmentSpec(48, 32, 21, 0, 1),
            History(np.zeros((9, 32, 48, 3), np.uint8)),
            "overlap 0 with a history",
        ),
        (
            SegmentSpec(48, 32, 21, 9, 1),
            History(np.zeros((5, 32, 48, 3), np.uint8)),
            r"uint8 \[5, 32, 48, 3\], expected uint8 \[9, 32, 48, 3\]",
        ),
        (
            SegmentSpec(48, 32, 21, 9, 1),
            History(np.zeros((9, 32, 48, 3), np.float32)),
            "are float32",
        ),
    ],
)
def test_segments_that_can_never_be_rendered_are_refused(
    spec: SegmentSpec, history: History | None, message: str
) -> None:
    with pytest.raises(SegmentError, match=message) as refused:
        renderer().render(spec, PROMPT, NEGATIVE, Given(history), Kept())
    assert refused.value.cure


def test_latent_history_must_have_the_shape_of_its_frames() -> None:
    config = dataclasses.replace(CONFIG, history="latents")
    spec = SegmentSpec(WIDTH, HEIGHT, 21, 9, 1)
    pixels = np.zeros((9, HEIGHT, WIDTH, 3), np.uint8)
    short = History(pixels, np.zeros((16, 2, 4, 6), np.float32))
    with pytest.raises(SegmentError, match=r"\[16, 2, 4, 6\], expected float32 \[16, 3, 4, 6\]"):
        renderer(config).render(spec, PROMPT, NEGATIVE, Given(short), Kept())


def test_a_clip_has_no_latents_so_its_frames_are_encoded() -> None:
    clip = History(past().pixels)
    config = dataclasses.replace(CONFIG, history="latents")
    assert segment(history=clip, config=config).digest() == continued()


MODES: dict[str, dict[str, object]] = {
    "synchronous": {},
    "asynchronous": {"ar_step": 1, "block": 2},
    "consistency": {"solver": "consistency"},
    "latents": {"history": "latents", "ar_step": 2},
}


@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_a_segment_alone_equals_itself_in_a_shot(mode: str) -> None:
    """A shot from one picture to another, and its segments once more, last first."""
    config = dataclasses.replace(CONFIG, **MODES[mode])  # type: ignore[arg-type]
    first = segment(seed=1, config=config, start=picture(1))
    second = segment(seed=2, config=config, history=first.history())
    third = segment(window=13, seed=3, config=config, history=second.history(), end=picture(2))
    assert [len(s.pixels) for s in (first, second, third)] == [21, 12, 4]
    assert [s.tails[0].shape[1] for s in (first, second, third)] == [6, 3, 1]
    again = ForcingRenderer(config)
    for kept, window, given in (
        (third, 13, Given(second.history(), end=picture(2))),
        (first, 21, Given(start=picture(1))),
        (second, 21, Given(first.history())),
    ):
        sink = Kept()
        seed = {id(first): 1, id(second): 2, id(third): 3}[id(kept)]
        overlap = 0 if given.history is None else 9
        spec = SegmentSpec(WIDTH, HEIGHT, window, overlap, seed)
        again.render(spec, PROMPT, NEGATIVE, given, sink)
        assert sink.digest() == kept.digest()


def test_a_start_picture_is_the_first_frame_and_the_first_latent() -> None:
    made = segment(start=picture())
    with torch.inference_mode():
        vae = renderer()._model.vae  # type: ignore[union-attr]
        latent = vae.encode(picture()[None])
        (frames,) = vae.decode(latent)
    assert np.array_equal(made.tails[0][:, :1], latent[0].numpy())
    assert np.array_equal(made.pixels[:1], to_bytes(frames))


@pytest.mark.parametrize("continuing", [False, True])
def test_an_end_picture_changes_the_pixels_and_is_no_frame_of_them(continuing: bool) -> None:
    history = past() if continuing else None
    with_end, without = segment(history=history, end=picture()), segment(history=history)
    assert with_end.pixels.shape == without.pixels.shape
    assert with_end.tails[0].shape == without.tails[0].shape
    assert with_end.digest() != without.digest()
    assert with_end.digest() != segment(history=history, end=picture(9)).digest()


def test_a_window_of_one_start_picture_is_that_picture() -> None:
    config = dataclasses.replace(CONFIG, overlap=1)
    sink = segment(window=1, config=config, start=picture())
    assert sink.pixels.shape == (1, HEIGHT, WIDTH, 3) and not sink.steps


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given(start=np.zeros((32, 40, 3), np.uint8)), r"start picture is uint8 \[32, 40, 3\]"),
        (Given(start=np.zeros((32, 48, 3), np.float32)), "start picture is float32"),
        (Given(end=np.zeros((1, 32, 48, 3), np.uint8)), r"end picture is uint8 \[1, 32, 48, 3\]"),
    ],
)
def test_pictures_of_another_size_are_refused(given: Given, message: str) -> None:
    with pytest.raises(SegmentError, match=message):
        renderer().render(SegmentSpec(WIDTH, HEIGHT, 21, 0, 1), PROMPT, NEGATIVE, given, Kept())


def test_a_continuing_segment_has_no_start_picture() -> None:
    given = Given(past(), start=picture())
    with pytest.raises(SegmentError, match="continuing segment with a start picture"):
        renderer().render(SegmentSpec(WIDTH, HEIGHT, 21, 9, 1), PROMPT, NEGATIVE, given, Kept())


@pytest.mark.parametrize(
    ("prompt", "negative", "message"),
    [
        (None, NEGATIVE, "no prompt"),
        (PROMPT, None, "no negative prompt"),
        (PROMPT[:, :5], NEGATIVE, r"prompt's embedding is \[7, 5\]"),
        (np.zeros((513, tiny_models.TEXT_DIM), np.float32), NEGATIVE, "up to 512 tokens"),
    ],
)
def test_prompts_of_another_model_are_refused(
    prompt: NDArray[np.float32] | None, negative: NDArray[np.float32] | None, message: str
) -> None:
    with pytest.raises(SegmentError, match=message):
        renderer().render(SegmentSpec(WIDTH, HEIGHT, 21, 0, 1), prompt, negative, Given(), Kept())


def test_numbers_that_are_not_finite_never_become_frames() -> None:
    sink = Kept()
    broken = np.full_like(PROMPT, np.nan)
    with pytest.raises(SegmentError, match="not finite"):
        renderer().render(SegmentSpec(WIDTH, HEIGHT, 9, 0, 1), broken, NEGATIVE, Given(), sink)
    assert not sink.chunks and not sink.tails


def test_what_the_sink_raises_ends_the_segment_at_once() -> None:
    class Stopped(Exception):
        pass

    class Stopping(Kept):
        def step(self, done: int, total: int) -> None:
            super().step(done, total)
            if done == 2:
                raise Stopped

    sink = Stopping()
    with pytest.raises(Stopped):
        renderer().render(SegmentSpec(WIDTH, HEIGHT, 9, 0, 1), PROMPT, NEGATIVE, Given(), sink)
    assert len(sink.steps) == 2 and not sink.chunks
    assert torch.is_grad_enabled()


def test_a_long_shot_holds_no_more_in_memory_than_a_short_one() -> None:
    from live_bytes import LiveBytes  # not where this file is read in another process

    config = dataclasses.replace(CONFIG, overlap=5, steps=1, guidance=1.0)
    before = segment(window=9, config=config).history(5)

    def peak(segments: int) -> int:
        history = before
        with LiveBytes() as live:
            for seed in range(segments):
                history = segment(13, seed, history, config).history(5)
        return live.peak

    segment(13, 1, before, config)
    assert peak(10) == peak(2)


def test_noise_streams_depend_on_seed_and_purpose_alone() -> None:
    shape = (1, 16, 3, 2, 2)
    one, two = SeededNoise(7), SeededNoise(7)
    assert torch.equal(one.initial(shape), two.initial(shape))
    assert torch.equal(one.history(shape), two.history(shape))
    assert torch.equal(one.consistency(shape), two.consistency(shape))
    purposes = [noise(shape) for noise in (one.initial, one.history, one.consistency)]
    assert len({float(noise.sum()) for noise in purposes}) == 3
    assert not torch.equal(one.history(shape), two.initial(shape))
    assert not torch.equal(SeededNoise(7).initial(shape), SeededNoise(8).initial(shape))
    assert stream(2**80, "noise").initial_seed() != stream(0, "noise").initial_seed()


def test_numerics_name_device_dtype_torch_and_threads() -> None:
    text = renderer().numerics()
    assert text.startswith("cpu-")
    assert text.endswith(f" float32 native eager torch-{torch.__version__} threads-1")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"compile": True}, "compiled"),
        ({"fuse_guidance": True}, "fused-guidance"),
        ({"quantize": "int8"}, "weights-int8"),
        ({"vae_dtype": "bfloat16"}, "vae-bfloat16"),
    ],
)
def test_what_moves_the_last_bits_is_told(change: dict[str, object], told: str) -> None:
    changed = dataclasses.replace(CONFIG, **change)  # type: ignore[arg-type]
    assert told in ForcingRenderer(changed).numerics().split()


def test_a_closed_renderer_loads_again_when_needed() -> None:
    one = ForcingRenderer(CONFIG)
    spec = SegmentSpec(WIDTH, HEIGHT, 9, 0, 1)
    digests = []
    for _ in range(2):
        sink = Kept()
        one.render(spec, PROMPT, NEGATIVE, Given(), sink)
        digests.append(sink.digest())
        one.close()
    assert digests[0] == digests[1]


def test_the_embedded_toybox_renders() -> None:
    config = ForcingConfig(model="toybox", dtype="float32", steps=2, guidance=2.0)
    sink = Kept()
    prompt = np.zeros((3, 128), np.float32)
    ForcingRenderer(config).render(SegmentSpec(96, 64, 17, 0, 1), prompt, prompt, Given(), sink)
    assert sink.pixels.shape == (17, 64, 96, 3)
