"""Skipped steps: which ones, and that they run no block."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from forcing_support import embeddings, given, one_thread, our_window
from numpy.typing import NDArray
from torch import Tensor

from storyflow.forcing import segment
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.stepcache import fit_of, skipped_steps
from storyflow.forcing.transformer import LeanTransformer

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = ForcingConfig(
    model="tiny", dtype="float32", window=33, overlap=9, steps=12, guidance=4.0, step_cache=0.05
)


def moving(*changes: float, width: int = 8) -> NDArray[np.float32]:
    """Embeddings [steps, 6, width] whose size grows by these parts from step to step."""
    sizes = np.cumprod([1.0, *(1 + c for c in changes)])
    return np.broadcast_to(sizes[:, None, None], (len(sizes), 6, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("threshold", "computed", "skipped"),
    [
        (0.0, (), set()),
        (0.15, (), {5, 7, 9}),
        (0.25, (), {5, 6, 8, 9}),
        (9.0, (), {5, 6, 7, 8, 9, 10}),
        (9.0, (8,), {5, 6, 7, 9, 10}),
    ],
)
def test_steps_are_skipped_until_the_changes_add_up(
    threshold: float, computed: tuple[int, ...], skipped: set[int]
) -> None:
    changes = moving(*[0.1] * 11)  # 12 steps: the first five and the last are computed
    assert skipped_steps(changes, threshold, computed) == skipped


def test_few_steps_are_never_skipped() -> None:
    assert not skipped_steps(moving(*[0.0] * 5), 1.0, ())
    assert not skipped_steps(moving(), 1.0, ())


def test_the_released_sizes_use_their_fit() -> None:
    """The change of the output that TeaCache fitted: 0.143 at 1.3B for 0.05 of the embedding."""
    changes = moving(*[0.05] * 7)
    small = fit_of(1536, pictures=False)
    assert skipped_steps(changes, 0.14, (), small) == set()
    assert skipped_steps(changes, 0.15, (), small) == {5}
    assert fit_of(5120, pictures=False) != small
    assert fit_of(128, pictures=False) == fit_of(1536, pictures=True) == (1.0, 0.0)


class Counting(LeanTransformer):
    """Notes which passes ran the blocks."""

    def __init__(self, model: Any, fps: Fraction) -> None:
        super().__init__(model, fps)
        self.computed: list[tuple[bool, int]] = []

    def __call__(self, *arguments: Any, **more: Any) -> list[Tensor]:
        result = super().__call__(*arguments, **more)
        self.computed.append((True, len(result)))
        return result

    def again(self, *arguments: Any, **more: Any) -> list[Tensor]:
        result = super().again(*arguments, **more)
        self.computed.append((False, len(result)))
        return result


def window(config: ForcingConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, list[Any]]:
    made: list[Counting] = []

    def make(model: Any, fps: Fraction) -> Counting:
        made.append(Counting(model, fps))
        return made[0]

    monkeypatch.setattr("forcing_support.LeanTransformer", make)
    latents = our_window(config, given(), 5)
    return latents, made[0].computed


def test_a_skipped_step_runs_no_block_and_changes_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact, passes = window(dataclasses.replace(CONFIG, step_cache=0.0), monkeypatch)
    assert passes == [(True, 2)] * 12
    cached, passes = window(dataclasses.replace(CONFIG, step_cache=1.0), monkeypatch)
    assert [step for step, (computed, _) in enumerate(passes) if not computed] == [*range(5, 11)]
    assert not torch.equal(exact, cached)
    assert torch.isfinite(cached).all()


def test_the_first_guided_step_is_computed_and_later_ones_may_be_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(CONFIG, step_cache=1.0, guidance_from=0.5, guidance_to=0.75)
    _, passes = window(config, monkeypatch)
    assert passes[5:10] == [(False, 1), (True, 2), (False, 2), (False, 2), (False, 1)]


def test_what_is_reused_gives_the_same_velocity_at_the_same_place() -> None:
    lean = LeanTransformer(tiny_models.components().transformer, Fraction(24))
    latents = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([[0, 500, 500]])
    prompts = [lean.read_prompt(text) for text in embeddings()]
    added: list[Tensor] = []
    computed = lean(latents, timesteps, prompts, keep=added)
    for one, two in zip(computed, lean.again(latents, timesteps, added), strict=True):
        torch.testing.assert_close(one, two)
    assert all(map(torch.equal, computed, lean(latents, timesteps, prompts)))


def test_the_list_of_skipped_steps_needs_no_history() -> None:
    """It is the same for every segment, so a segment alone equals itself in a shot."""
    lean = LeanTransformer(tiny_models.components().transformer, Fraction(24))
    schedule = segment.make_schedule(CONFIG.steps, CONFIG.shift, CONFIG.sigmas)
    lists = {segment._skipped(lean, CONFIG, schedule, range(0, 12)) for _ in range(2)}
    assert len(lists) == 1
