"""Which latent frame is at which noise level in which forward pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.schedule import (
    PURE_NOISE,
    Block,
    block_numbers,
    guided_steps,
    make_schedule,
    make_timetable,
)

REFERENCE = make_schedule(30, 8.0, "reference")


def test_the_reference_table_of_an_asynchronous_window() -> None:
    """30 steps, shift 8, 97 frames, ar_step 5, blocks of 5; rows as the reference code gives."""
    table = make_timetable(REFERENCE, 25, 0, ar_step=5, block=5)
    assert table.timesteps.shape == (50, 25)
    named = {
        7: [969, 995, 999, 999, 999],
        21: [799, 888, 941, 975, 999],
        35: [0, 216, 666, 822, 901],
        50: [0, 0, 0, 0, 216],
    }
    for row, levels in named.items():
        assert table.timesteps[row - 1].tolist() == np.repeat(levels, 5).tolist()
    assert table.timesteps[:7, 0].tolist() == [999, 995, 991, 986, 980, 975, 969]
    assert table.timesteps[28:31, 0].tolist() == [363, 216, 0]


@pytest.mark.parametrize(("known", "passes"), [(0, 50), (5, 45)])
def test_blocks_lag_behind_each_other_and_known_frames_save_passes(known: int, passes: int) -> None:
    assert make_timetable(REFERENCE, 25, known, ar_step=5, block=5).passes == passes


def test_a_synchronous_window_is_one_block_whatever_the_block_size() -> None:
    table = make_timetable(REFERENCE, 25, 5, block=7, history_noise=20)
    assert table.blocks == (Block(5, 25, 0),)
    assert table.passes == 30
    assert set(table.timesteps[:, :5].flat) == {20}
    assert (table.timesteps[:, 5:] == REFERENCE.timesteps[:, None]).all()


def test_the_first_block_after_a_start_picture_is_shorter() -> None:
    """The reference drops the picture here: it counts whole blocks of known frames."""
    table = make_timetable(REFERENCE, 25, 1, ar_step=5, block=5, history_noise=20)
    assert [(b.start, b.stop) for b in table.blocks] == [
        (1, 5),
        (5, 10),
        (10, 15),
        (15, 20),
        (20, 25),
    ]
    assert (table.timesteps[:, 0] == 20).all()


def test_the_last_block_is_shorter_where_the_window_does_not_divide() -> None:
    """Both reference codes return the last latent of a 720P window (31) as noise here."""
    table = make_timetable(REFERENCE, 31, 0, ar_step=5, block=5)
    assert table.blocks[-1] == Block(30, 31, 30)
    assert table.timesteps[-1].tolist() == [0] * 30 + [216]


def test_an_end_picture_is_clean_in_every_pass_and_adds_none() -> None:
    """Stock counts it as one more block, and so runs `ar_step` passes that change nothing."""
    table = make_timetable(REFERENCE, 25, 5, ends=1, ar_step=5, block=5, history_noise=20)
    assert table.timesteps.shape == (45, 26)
    assert (table.timesteps[:, 25] == 0).all()


def test_a_window_that_is_known_already_needs_no_pass() -> None:
    table = make_timetable(REFERENCE, 1, 1, ends=1)
    assert (table.passes, table.blocks, table.timesteps.shape) == (0, (), (0, 2))


def test_for_causal_weights_what_is_given_belongs_to_the_first_block() -> None:
    assert block_numbers(7, 3, ends=1).tolist() == [0, 0, 0, 1, 1, 1, 2, 0]


windows = st.integers(1, 32).flatmap(
    lambda frames: st.tuples(st.just(frames), st.integers(0, frames))
)


@given(
    window=windows,
    block=st.integers(1, 12),
    ar_step=st.integers(0, 14),
    steps=st.integers(1, 12),
    ends=st.integers(0, 1),
)
@example(window=(31, 0), block=5, ar_step=5, steps=12, ends=0)
@example(window=(25, 1), block=5, ar_step=5, steps=12, ends=1)
def test_every_frame_that_is_not_known_takes_every_step_once_and_in_order(
    window: tuple[int, int], block: int, ar_step: int, steps: int, ends: int
) -> None:
    frames, known = window
    schedule = make_schedule(steps, 3.0, "reference")
    table = make_timetable(
        schedule, frames, known, ends=ends, ar_step=ar_step, block=block, history_noise=20
    )
    edges = [known, *(b.stop for b in table.blocks)]
    assert [b.start for b in table.blocks] == edges[:-1] and edges[-1] == frames
    if ar_step:
        assert all(b.stop % block == 0 for b in table.blocks[:-1])
        assert all(b.stop - b.start <= block for b in table.blocks)
    else:
        assert len(table.blocks) <= 1
    done = [0] * frames
    for row in range(table.passes):
        stepping = table.stepping(row)
        assert stepping, "a pass that changes nothing"
        for i, step in stepping:
            for frame in range(table.blocks[i].start, table.blocks[i].stop):
                assert done[frame] == step
                assert table.timesteps[row, frame] == schedule.timesteps[step]
                done[frame] += 1
        still = {f for f in range(known, frames)} - {
            f for i, _ in stepping for f in range(table.blocks[i].start, table.blocks[i].stop)
        }
        assert all(table.timesteps[row, f] == (0 if done[f] else PURE_NOISE) for f in still)
    assert done == [0] * known + [steps] * (frames - known)
    assert (table.timesteps[:, :known] == 20).all() and (table.timesteps[:, frames:] == 0).all()


@settings(max_examples=40)
@given(
    blocks=st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
    block=st.integers(1, 5),
    ar_step=st.integers(0, 8),
    steps=st.integers(1, 7),
)
def test_the_table_equals_the_stock_one_where_all_blocks_are_whole(
    blocks: tuple[int, int], block: int, ar_step: int, steps: int
) -> None:
    import torch
    from diffusers import SkyReelsV2DiffusionForcingPipeline

    count, ready = blocks
    schedule = make_schedule(steps, 8.0, "diffusers")
    levels, _, changing, _ = SkyReelsV2DiffusionForcingPipeline.generate_timestep_matrix(
        None,
        count * block,
        torch.from_numpy(schedule.timesteps),
        count * block,
        ar_step,
        ready * block,
        block,
    )
    table = make_timetable(schedule, count * block, ready * block, ar_step=ar_step, block=block)
    assert table.timesteps.tolist() == levels.tolist()
    for row in range(table.passes):
        ours = np.zeros(count * block, bool)
        for i, _ in table.stepping(row):
            ours[table.blocks[i].start : table.blocks[i].stop] = True
        assert ours.tolist() == changing[row].tolist()


@pytest.mark.parametrize(
    ("steps", "start", "end", "guided"),
    [
        (30, 0.0, 1.0, range(0, 30)),
        (30, 0.2, 0.8, range(6, 24)),
        (50, 0.1, 0.7, range(5, 35)),
        (4, 0.0, 0.5, range(0, 2)),
        (1, 0.0, 1.0, range(0, 1)),
    ],
)
def test_guidance_covers_its_part_of_the_steps(
    steps: int, start: float, end: float, guided: range
) -> None:
    assert guided_steps(steps, start, end) == guided


def test_guidance_that_falls_between_two_steps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.02 to 0\.03 holds none of 10 steps"):
        guided_steps(10, 0.02, 0.03)
    with pytest.raises(ValueError, match="holds none of 10 steps"):
        ForcingConfig(model="any", steps=10, guidance_from=0.02, guidance_to=0.03)
    ForcingConfig(model="any", steps=10, guidance=1.0, guidance_from=0.02, guidance_to=0.03)
