"""The segment loop around stand-in models: which frames, levels, prompts and noise they meet.

The oracle knows the picture and always points straight at it, so every frame that took all its
steps shows its own number, and a frame that was lost, doubled or left as noise shows another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from live_bytes import LiveBytes
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing.conditions import Conditions
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.noise import SeededNoise
from storyflow.forcing.schedule import make_schedule
from storyflow.forcing.segment import Model, denoise, render_segment
from storyflow.forcing.solver import Consistency, UniPC
from storyflow.renderer import Given, History, SegmentSpec

CONFIG = ForcingConfig(model="none", dtype="float32", window=33, overlap=9, steps=4, guidance=4.0)


class Oracle:
    """Points from any noise level straight at `target` [1, c, f, h, w]; notes what it is told."""

    dtype, device, text_dim = torch.float32, torch.device("cpu"), 1

    def __init__(self, config: ForcingConfig, target: Tensor) -> None:
        schedule = make_schedule(config.steps, config.shift, config.sigmas)
        levels = schedule.timesteps.tolist(), schedule.sigmas.tolist()
        self._sigmas = dict(zip(*levels, strict=False))
        self.target = target
        self.timesteps: list[list[int]] = []
        self.prompts: list[int] = []
        self.blocks: list[list[int] | None] = []
        self.seen: list[Tensor] = []

    def read_prompt(self, embedding: Tensor) -> Tensor:
        return embedding

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: list[Any],
        blocks: Tensor | None = None,
        keep: list[Tensor] | None = None,
    ) -> list[Tensor]:
        self.timesteps.append(timesteps[0].tolist())
        self.prompts.append(len(prompts))
        self.blocks.append(None if blocks is None else blocks.tolist())
        self.seen.append(latents)
        sigmas = torch.tensor([self._sigmas.get(t, 1.0) for t in timesteps[0].tolist()])
        velocity = (latents - self.target) / sigmas.view(1, 1, -1, 1, 1)
        return [velocity] * len(prompts)


class Still:
    """Always the same velocities, and no tensor operation of its own."""

    text_dim = 1

    def __init__(self, *velocities: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.dtype, self.device = dtype, velocities[0].device
        self._velocities = velocities
        self.prompts: list[int] = []

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        prompts: list[Any],
        blocks: Tensor | None = None,
        keep: list[Tensor] | None = None,
    ) -> list[Tensor]:
        self.prompts.append(len(prompts))
        return list(self._velocities[: len(prompts)])


def run(
    transformer: Any, config: ForcingConfig, conditions: Conditions, frames: int, prompts: int = 2
) -> Tensor:
    return denoise(
        transformer,
        config,
        conditions,
        frames,
        [None] * prompts,  # type: ignore[list-item]
        SeededNoise(5),
        lambda done, of: None,
    )


def conditions(known: int = 0, ends: int = 0, channels: int = 4) -> Conditions:
    first = torch.full((1, channels, known, 2, 2), -7.0)
    return Conditions(first, torch.full((1, channels, ends, 2, 2), -9.0), history=known)


@settings(max_examples=60)
@given(
    window=st.integers(1, 14).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    block=st.integers(1, 6),
    ar_step=st.integers(0, 6),
    steps=st.integers(1, 5),
    ends=st.integers(0, 1),
    history_noise=st.sampled_from([0, 20]),
    solver=st.sampled_from(["unipc", "consistency"]),
    sigmas=st.sampled_from(["reference", "diffusers"]),
)
def test_every_frame_ends_where_the_model_points_and_known_ones_stay(
    window: tuple[int, int],
    block: int,
    ar_step: int,
    steps: int,
    ends: int,
    history_noise: int,
    solver: Any,
    sigmas: Any,
) -> None:
    frames, known = window
    config = dataclasses.replace(
        CONFIG,
        block=block,
        ar_step=ar_step,
        steps=steps,
        history_noise=history_noise,
        solver=solver,
        sigmas=sigmas,
    )
    target = torch.arange(frames + ends).view(1, 1, -1, 1, 1).expand(1, 4, -1, 2, 2).float()
    oracle = Oracle(config, target)
    made = run(oracle, config, conditions(known, ends), frames)
    assert torch.equal(made[:, :, :known], conditions(known).first)
    torch.testing.assert_close(made[:, :, known:], target[:, :, known:frames], atol=1e-3, rtol=1e-4)
    for seen, timesteps in zip(oracle.seen, oracle.timesteps, strict=True):
        assert timesteps[:known] == [history_noise] * known
        assert timesteps[frames:] == [0] * ends
        assert torch.equal(seen[:, :, frames:], conditions(0, ends).end)
        if not history_noise:
            assert torch.equal(seen[:, :, :known], conditions(known).first)


# --- films of numbered frames ---


class NumberedVAE:
    """Frame n is a picture of the number n; a latent holds the numbers of its frames."""

    channels = 4

    def encode(self, frames: NDArray[np.uint8]) -> Tensor:
        numbers = [float(f[0, 0, 0]) * 256 + float(f[0, 0, 1]) for f in frames]
        latents = [numbers[:1] * 4] + [numbers[i : i + 4] for i in range(1, len(numbers), 4)]
        return torch.tensor(latents).T.reshape(1, 4, -1, 1, 1).repeat(1, 1, 1, 2, 2)

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        for i in range(latents.shape[2]):
            numbers = latents[0, :, i, 0, 0].round()
            shown = numbers[3:] if i == 0 else numbers
            yield torch.stack([picture(int(n)) for n in shown]).permute(1, 0, 2, 3)[None]


def picture(number: int) -> Tensor:
    """[3, 16, 16] in [-1, 1]; what is no frame number at all is white."""
    high, low = divmod(number, 256) if 0 <= number < 65536 else (255, 255)
    levels = torch.tensor([high, low, 0]).float() / 127.5 - 1
    return levels.view(3, 1, 1).expand(3, 16, 16)


def frame(number: int) -> NDArray[np.uint8]:
    levels = np.array([number // 256, number % 256, 0], np.uint8)
    return np.broadcast_to(levels, (16, 16, 3)).copy()


def numbers(latents: int, first: int) -> Tensor:
    """Latents of a window whose first frame has the number `first`, as the VAE makes them."""
    return NumberedVAE().encode(np.stack([frame(first + i) for i in range(4 * latents - 3)]))


class Film:
    def __init__(self) -> None:
        self.shown: list[int] = []
        self.latent: list[NDArray[np.float32]] = []

    def regained(self, chunk: NDArray[np.uint8]) -> None:
        pass

    def frames(self, chunk: NDArray[np.uint8]) -> None:
        self.shown += [int(f[0, 0, 0]) * 256 + int(f[0, 0, 1]) for f in chunk]

    def latents(self, chunk: NDArray[np.float32]) -> None:
        self.latent.append(chunk)

    def step(self, done: int, total: int) -> None:
        pass


@settings(max_examples=40)
@given(
    data=st.data(),
    overlap=st.sampled_from([1, 5, 9, 17]),
    extra=st.integers(0, 5),
    segments=st.integers(1, 4),
    history=st.sampled_from(["pixels", "latents"]),
    ar_step=st.integers(0, 4),
    block=st.integers(1, 5),
    start=st.booleans(),
    end=st.booleans(),
)
def test_a_shot_shows_every_frame_once_and_in_order(
    data: st.DataObject,
    overlap: int,
    extra: int,
    segments: int,
    history: Any,
    ar_step: int,
    block: int,
    start: bool,
    end: bool,
) -> None:
    window = (2 * overlap + 3 + 3) // 4 * 4 + 1 + 4 * extra
    config = dataclasses.replace(
        CONFIG,
        window=window,
        overlap=overlap,
        history=history,
        ar_step=ar_step,
        block=block,
        steps=3,
        guidance=1.0,
        history_noise=0,
    )
    film, past = Film(), None
    for i in range(segments):
        legal = config.lattice.new_frames(fresh=i == 0)
        new = data.draw(st.sampled_from(list(legal)), label="new frames")
        known = overlap if i else 0
        spec = SegmentSpec(16, 16, new + known, known, seed=i)
        at = len(film.shown) - known
        target = numbers((spec.window - 1) // 4 + 1, at)
        last = end and i == segments - 1
        if last:
            after = numbers(1, at + spec.window)
            target = torch.cat([target, after], dim=2)
        given = Given(
            past, frame(0) if start and not i else None, frame(at + spec.window) if last else None
        )
        model = Model(Oracle(config, target), NumberedVAE())  # type: ignore[arg-type]
        prompt = np.zeros((1, 1), np.float32)
        render_segment(model, config, spec, prompt, None, given, SeededNoise(i), film)
        assert film.latent[-1].shape[1] == (new + 3) // 4
        tail = np.concatenate(film.latent, axis=1)[:, -(overlap + 3) // 4 :]
        past = History(np.stack([frame(n) for n in film.shown[-overlap:]]), tail)
    assert film.shown == list(range(len(film.shown)))


# --- guidance ---


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, [2, 2, 2, 2]),
        ({"guidance_from": 0.25, "guidance_to": 0.75}, [1, 2, 2, 1]),
        ({"guidance_to": 0.5}, [2, 2, 1, 1]),
        # Two blocks, the second four steps behind: each is guided at its own first two steps.
        ({"guidance_to": 0.5, "ar_step": 4, "block": 3}, [2, 2, 1, 1, 2, 2, 1, 1]),
        ({"guidance_to": 0.5, "ar_step": 1, "block": 3}, [2, 2, 2, 1, 1]),
    ],
)
def test_the_negative_prompt_is_read_in_the_guided_part_only(
    changes: dict[str, Any], passes: list[int]
) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    oracle = Oracle(config, torch.zeros(1, 4, 6, 2, 2))
    run(oracle, config, conditions(), 6)
    assert oracle.prompts == passes


def test_in_one_pass_one_block_can_be_guided_and_another_not() -> None:
    """The second block starts when the first has left the guided part."""
    config = dataclasses.replace(CONFIG, ar_step=2, block=3, guidance_to=0.5, guidance=3.0)
    wanted, unwanted = torch.full((2, 1, 4, 6, 2, 2), 0.5) * torch.tensor([1, -1]).view(2, *[1] * 5)
    made = run(Still(wanted, unwanted), config, conditions(), 6)
    sample = SeededNoise(5).initial((1, 4, 6, 2, 2))
    schedule = make_schedule(config.steps, config.shift, config.sigmas)
    steps = UniPC(schedule.sigmas).begin()
    for step in range(4):
        velocity = unwanted + 3.0 * (wanted - unwanted) if step < 2 else wanted
        sample = steps.step(velocity, sample)
    assert torch.equal(made, sample)


# --- weights for block-causal attention ---


def test_block_numbers_go_to_causal_weights_only() -> None:
    target = torch.zeros(1, 4, 6, 2, 2)
    config = dataclasses.replace(CONFIG, ar_step=1, block=2)
    plain = Oracle(config, target)
    run(plain, config, conditions(1, 1), 5)
    assert set(plain.blocks) == {None}
    causal = Oracle(config, target)
    run(causal, dataclasses.replace(config, causal=True), conditions(1, 1), 5)
    assert causal.blocks == [[0, 0, 1, 1, 2, 0]] * len(causal.timesteps)


# --- the consistency solver ---


def test_a_consistency_step_predicts_the_end_and_adds_fresh_noise() -> None:
    sigmas = make_schedule(3, 5.0, "reference").sigmas
    drawn = torch.full((1, 4, 2, 2, 2), 0.25)
    steps = Consistency(sigmas, lambda shape: drawn).begin()
    sample, velocity = torch.ones(1, 4, 2, 2, 2), torch.full((1, 4, 2, 2, 2), 0.5)
    for level, target in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        clean = sample - velocity * level
        expected = clean * (1 - target) + drawn * target if target else clean
        sample = steps.step(velocity, sample)
        assert torch.equal(sample, expected)


@pytest.mark.parametrize("ar_step", [0, 2])
def test_the_consistency_noise_is_a_stream_of_its_own(ar_step: int) -> None:
    class Noise(SeededNoise):
        def __init__(self, scale: float) -> None:
            super().__init__(5)
            self._scale = scale
            self.drawn = 0

        def consistency(self, shape: tuple[int, ...]) -> Tensor:
            self.drawn += 1
            return super().consistency(shape) * self._scale

    config = dataclasses.replace(CONFIG, solver="consistency", ar_step=ar_step, block=3)
    transformer = Still(torch.full((1, 4, 6, 2, 2), 0.5))
    films = []
    for scale in (1.0, 1.0, 2.0):
        noise = Noise(scale)
        films.append(
            denoise(
                transformer,  # type: ignore[arg-type]
                config,
                conditions(),
                6,
                [None],  # type: ignore[list-item]
                noise,
                lambda done, of: None,
            )
        )
        assert noise.drawn == (config.steps - 1) * (2 if ar_step else 1)
    assert torch.equal(films[0], films[1]) and not torch.equal(films[0], films[2])


# --- few steps ---


@pytest.mark.parametrize("steps", [4, 6, 8, 30])
def test_the_right_first_corrector_is_nearer_to_the_true_path(steps: int) -> None:
    """Pictures spread normally with deviation 0.5 have a flow with a known end."""
    deviation = 0.5
    schedule = make_schedule(steps, 3.0, "reference")
    first = float(schedule.sigmas[0])

    def variance(sigma: float) -> float:
        return (1 - sigma) ** 2 * deviation**2 + sigma**2

    def error(aliasing: bool) -> float:
        steps = UniPC(schedule.sigmas, aliasing=aliasing).begin()
        start = sample = torch.linspace(-2, 2, 41)
        for sigma in schedule.sigmas[:-1].tolist():
            slope = (sigma - (1 - sigma) * deviation**2) / variance(sigma)
            sample = steps.step(sample * slope, sample)
        true = start * deviation / variance(first) ** 0.5
        return float((sample - true).abs().max())

    assert error(aliasing=False) < error(aliasing=True)


# --- cost outside the model ---


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, 1),
        ({"history_noise": 20}, 1),
        ({"dtype": "bfloat16"}, 1),
        ({"solver": "consistency"}, 1),
        ({"ar_step": 2, "block": 5}, 4),
        ({"ar_step": 2, "block": 5, "solver": "consistency"}, 4),
        ({"ar_step": 1}, 20),
    ],
)
def test_a_step_is_few_tensor_operations(changes: dict[str, Any], blocks: int) -> None:
    """At most 150 per step and block, beside the transformer; stock takes over 3,000 per step."""
    base = dataclasses.replace(CONFIG, window=97, overlap=17, **changes)
    velocities = torch.zeros(2, 1, 4, 26, 2, 2)
    counts, passes = [], []
    for steps in (10, 15):
        config = dataclasses.replace(base, steps=steps)
        dtype = getattr(torch, config.dtype)
        still = Still(*velocities.to(dtype), dtype=dtype)
        with torch.no_grad(), LiveBytes() as live:
            run(still, config, conditions(5, 1), 25)
        counts.append(live.operations)
        passes.append(len(still.prompts))
    per_pass = (counts[1] - counts[0]) / (passes[1] - passes[0])
    assert per_pass / blocks <= 150


@pytest.mark.parametrize(
    "changes", [{}, {"ar_step": 2, "block": 2}, {"solver": "consistency"}, {"guidance_to": 0.5}]
)
def test_the_loop_never_reads_a_tensor_back(changes: dict[str, Any]) -> None:
    """On the meta device nothing has a value, so a read would fail; on a GPU it would wait."""
    config = dataclasses.replace(CONFIG, **changes)
    velocities = torch.zeros(2, 1, 4, 7, 2, 2, device="meta")
    made = run(Still(*velocities), config, conditions(2, 1), 6)
    assert made.device.type == "meta" and made.shape == (1, 4, 6, 2, 2)
