"""Legal lengths, noise levels and cost: all without torch."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cost.flops import segment_flops
from storyflow.forcing.lattice import (
    ForcingLattice,
    TransformerShape,
    forward_flops,
    latent_frames,
)
from storyflow.forcing.schedule import Spacing, make_schedule
from storyflow.renderer import Lattice

SMALL = TransformerShape(width=1536, layers=30, ffn=8960)
LARGE = TransformerShape(width=5120, layers=40, ffn=13824)


def test_the_released_models_have_the_published_lengths() -> None:
    lattice: Lattice = ForcingLattice(window=97, overlap=17)
    assert lattice.new_frames(fresh=True) == range(17, 98, 4)
    assert lattice.new_frames(fresh=True)[-1] == 97
    assert lattice.new_frames(fresh=False) == range(20, 81, 4)
    assert lattice.new_frames(fresh=False)[-1] == 80
    assert lattice.grid == 4
    assert ForcingLattice(window=121, overlap=17).new_frames(fresh=False)[-1] == 104


@given(k=st.integers(0, 12), extra=st.integers(0, 40))
def test_every_legal_segment_fits_the_latent_grid_and_feeds_the_next(k: int, extra: int) -> None:
    overlap = 4 * k + 1
    window = (2 * overlap + 3 + 3) // 4 * 4 + 1 + 4 * extra
    lattice = ForcingLattice(window=window, overlap=overlap)
    for new in lattice.new_frames(fresh=True):
        assert new >= overlap and latent_frames(new) * 4 - 3 == new
    continuing = lattice.new_frames(fresh=False)
    assert continuing
    for new in continuing:
        assert overlap <= new <= window - overlap
        assert 4 * (latent_frames(overlap + new) - latent_frames(overlap)) == new


@pytest.mark.parametrize(
    ("window", "overlap", "message"),
    [
        (96, 17, "96 frames do not fit the VAE's grid of 4k[+]1; use 93 or 97"),
        (97, 20, "20 frames do not fit the VAE's grid of 4k[+]1; use 17 or 21"),
        (97, 0, "0 frames .* use 1 or 5"),
        (97, 97, "overlap 97 leaves nothing"),
        (33, 41, "make the overlap shorter"),
        (33, 17, "use at least 37 frames, or a shorter overlap"),
    ],
)
def test_lengths_off_the_lattice_are_refused_with_the_cure(
    window: int, overlap: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ForcingLattice(window=window, overlap=overlap)
    with pytest.raises(ValueError, match=message):
        ForcingConfig(model="toybox", window=window, overlap=overlap)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": ""}, "hub id or `toybox`"),
        ({"dtype": "int8"}, "choose float32"),
        ({"guidance": 0.5}, "give 1 .off. or more"),
        ({"history": "both"}, "pixels or latents"),
        ({"history_noise": 61}, "0 to 60"),
        ({"fps": Fraction(0)}, "positive rate"),
        ({"threads": 0}, "1 or more"),
        ({"steps": 0}, "1 or more"),
        ({"shift": 0.0}, "positive number"),
        ({"steps": 400}, "share timesteps; use fewer steps"),
        ({"sigmas": "karras"}, "reference or diffusers"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForcingConfig(**{"model": "toybox", **given})


def test_pixel_fields_hold_what_changes_pixels_and_nothing_else() -> None:
    base = dict(ForcingConfig(model="toybox").pixel_fields())
    assert base["fps"] == "24" and base["steps"] == 30 and base["history_noise"] == 20
    elsewhere = ForcingConfig(model="other/model", device="cuda", threads=4, window=121, overlap=37)
    assert dict(elsewhere.pixel_fields()) == base
    assert dict(ForcingConfig(model="toybox", steps=29).pixel_fields()) != base


def test_reference_levels_are_the_published_timesteps() -> None:
    timesteps = make_schedule(30, 8.0, "reference").timesteps.tolist()
    assert timesteps[:10] == [999, 995, 991, 986, 980, 975, 969, 963, 956, 948]
    assert timesteps[-4:] == [551, 470, 363, 216]


def test_diffusers_levels_differ_from_the_reference_by_their_spacing() -> None:
    timesteps = make_schedule(30, 8.0, "diffusers").timesteps.tolist()
    assert timesteps[4] == 981 and timesteps[-2:] == [367, 221]


@given(
    steps=st.integers(1, 100),
    shift=st.floats(1, 5),
    spacing=st.sampled_from(["reference", "diffusers"]),
)
def test_levels_fall_to_zero(steps: int, shift: float, spacing: Spacing) -> None:
    schedule = make_schedule(steps, shift, spacing)
    assert schedule.steps == steps and len(schedule.sigmas) == steps + 1
    assert (schedule.sigmas[:-1] > schedule.sigmas[1:]).all() and schedule.sigmas[-1] == 0


@pytest.mark.parametrize(
    ("shape", "frames", "width", "height", "forward"),
    [
        (SMALL, 97, 960, 544, 612e12),
        (LARGE, 97, 960, 544, 3.37e15),
        (LARGE, 121, 1280, 720, 12.9e15),
    ],
)
def test_a_forward_pass_costs_what_was_counted(
    shape: TransformerShape, frames: int, width: int, height: int, forward: float
) -> None:
    assert forward_flops(frames, width, height, shape) == pytest.approx(forward, rel=0.02)


def test_a_segment_costs_its_steps_twice_when_guided() -> None:
    def flops(shape: TransformerShape, steps: int, guidance: float) -> float:
        config = ForcingConfig("model", steps=steps, guidance=guidance)
        return segment_flops(config, shape, 960, 544, 97)

    assert flops(SMALL, 30, 6.0) == pytest.approx(36.7e15, rel=0.02)
    assert flops(LARGE, 30, 6.0) == pytest.approx(202e15, rel=0.02)
    assert flops(SMALL, 30, 1.0) == flops(SMALL, 60, 1.0) / 2


def test_kinds_configs_and_identities_import_no_torch() -> None:
    code = (
        "import sys, storyflow.forcing.config, storyflow.forcing.weights.source; "
        "from storyflow.forcing.weights.identity import identity; identity('toybox'); "
        "from storyflow.kinds import kind_of; from storyflow.pipeline import load_profile; "
        "kind_of(load_profile('skyreels-v2-i2v-1.3b-540p')[1]).cost(97); "
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
