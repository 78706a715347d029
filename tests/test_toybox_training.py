"""Training: equal to the stock model, the same every time, and it goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from storyflow.toybox import (
    architecture,
    begin,
    code_stage,
    codec,
    latents,
    text_stage,
    train,
    vae_stage,
    windows,
    wordings,
)
from storyflow.toybox.batched import velocities
from storyflow.toybox.batches import Batches, _places
from storyflow.toybox.checkpoint import store
from storyflow.toybox.encoding import encode_fast
from storyflow.toybox.forcing_plan import ForcingPlan, Phase, Shape
from storyflow.toybox.forcing_stage import Trainer, averaged, head_for, losses_of, prepare
from storyflow.toybox.forcing_stage import train as train_forcing
from storyflow.toybox.latents import LatentSet
from storyflow.toybox.muon import orthogonal
from storyflow.toybox.own_history import LEVELS, repainted
from storyflow.toybox.pictures import Pool, importance, to_model
from storyflow.toybox.planes import flatten
from storyflow.toybox.windows import Portion

STILLS = Portion("still", 6, 1, 6)
SHORT = Portion("short", 5, 33, 5)
PLAN = ForcingPlan(
    phases=(
        Phase(40, (Shape(1, 2, 1.0, 2.5),), ("still",), 2e-3, 2e-3),
        Phase(10, (Shape(4, 1, 0.5, 3.0), Shape(7, 1, 0.5, 3.0)), ("short",), 2e-3, 0.0),
    ),
    warm=5,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def small_transformer() -> object:
    """A quarter of the width and a third of the layers learns the same way, in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        small = {"num_attention_heads": 2, "ffn_dim": 128, "num_layers": 2}
        patch.setattr(architecture, "TRANSFORMER", architecture.TRANSFORMER | small)
        yield


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.draw(8, 1)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Path:
    """A work folder after the stages `draw`, `code`, `latents` and `wordings`; the text encoder is
    not trained."""
    place = tmp_path_factory.mktemp("work")
    latents.draw(place / "drawn", (STILLS, SHORT))
    vae = code_stage.fit(place, pool=pool)
    latents.encode(vae, place / "drawn", place / "latents", (STILLS, SHORT))
    reader = architecture.build(0).text_encoder
    wordings.write(reader, place / "wordings", (STILLS, SHORT), latents.SEED)
    return place


@pytest.fixture(scope="module")
def data(work: Path) -> LatentSet:
    return LatentSet(work / "latents", ("still", "short"))


def trainer(data: LatentSet) -> Trainer:
    transformer = prepare(architecture.build(PLAN.seed).transformer, PLAN.seed)
    return Trainer(PLAN, transformer, head_for(PLAN, transformer, data))


def test_the_first_fifty_losses_repeat(work: Path, data: LatentSet) -> None:
    def losses() -> list[tuple[float, float]]:
        batches, learner = Batches(data, work / "wordings", PLAN), trainer(data)
        return [learner.step(number, batches[number]) for number in range(50)]

    first = losses()
    assert first == losses()
    assert (np.mean(first[30:40], axis=0) < np.mean(first[:10], axis=0)).all()


def test_what_is_learned_last_is_shown_more_often(
    work: Path, data: LatentSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [item.stretch.scene() for item in data.items["short"]]
    camera, action, first = scenes[3].camera, scenes[3].actions(0)[0], scenes[3].figures[0]
    monkeypatch.setattr("storyflow.toybox.batches.MOVES_OFTEN", {camera: 3, action: 2})
    monkeypatch.setattr("storyflow.toybox.batches.SHAPES_OFTEN", {first.shape: 2})
    monkeypatch.setattr("storyflow.toybox.batches.PAIRS_OFTEN", 5)
    figures = [
        (2 if scene.figures[0].shape == first.shape else 1) * (5 if len(scene.figures) > 1 else 1)
        for scene in scenes
    ]
    everything = [
        times * (3 if scene.camera == camera else 1) * (2 if scene.actions(0)[0] == action else 1)
        for times, scene in zip(figures, scenes, strict=True)
    ]
    assert (figures[3], everything[3]) == (2, 12)
    assert min(figures) == min(everything) == 1 < 5 <= max(figures)
    batches = Batches(data, work / "wordings", PLAN)
    for frames, times in ((7, everything), (1, figures)):
        used = Counter(item.number for _, item in batches._items(("short",), frames))
        assert [used[number] for number in range(len(scenes))] == times


def test_whole_histories_become_the_transformers_own(work: Path, data: LatentSet) -> None:
    films = Phase(1, (Shape(7, 3, 1.0, 3.0),), ("short",), 1e-3, 1e-3)
    batch = Batches(data, work / "wordings", replace(PLAN, phases=(films,)))[0]
    free = torch.ones(3, 7)
    free[0, :5] = 0
    free[1, :1] = 0
    batch, learner = replace(batch, free=free), trainer(data)
    lived, again = (learner.lived(batch, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(lived.noisy, again.noisy)
    changed = (lived.noisy != batch.noisy).flatten(3).any(dim=3).any(dim=1)
    assert changed.tolist() == [[True] * 5 + [False] * 2, [False] * 7, [False] * 7]
    assert lived.data is batch.data and lived.levels is batch.levels


def test_a_history_is_painted_in_one_step_from_noise(data: LatentSet) -> None:
    learner = trainer(data)
    history = torch.randn(2, 16, 5, 8, 12, generator=torch.Generator().manual_seed(1))
    text, lengths = torch.zeros(2, 3, 128), torch.tensor([3, 3])
    # A fresh transformer's output is silent: what comes out is what went in.
    silent = repainted(learner.transformer, history, text, lengths, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    part = torch.tensor(rng.uniform(*LEVELS, 2), dtype=torch.float32).view(2, 1, 1, 1, 1)
    noise = torch.from_numpy(rng.standard_normal(history.shape, dtype=np.float32))
    torch.testing.assert_close(silent, history * (1 - part) + noise * part)
    with torch.no_grad():  # One that says a velocity of 0.25 takes that much back.
        learner.transformer.proj_out.bias.fill_(0.25)
    said = repainted(learner.transformer, history, text, lengths, np.random.default_rng(3))
    torch.testing.assert_close(said, silent - 0.25 * part)


def test_late_stretches_lie_all_over_a_long_shot() -> None:
    late = list(windows.LATE.stretches(1))
    starts = [each.start for each in late]
    assert min(starts) < 30 and max(starts) > 690
    assert {each.kind for each in late} == {"going"} and {each.turns_in for each in late} == {None}
    taken = {each.seed for part in (windows.SHORT, windows.LONG) for each in part.stretches(1)}
    assert not taken & {each.seed for each in late}


def test_a_stopped_training_goes_on_exactly(work: Path, data: LatentSet, tmp_path: Path) -> None:
    batches, learner = Batches(data, work / "wordings", PLAN), trainer(data)
    straight = [learner.step(number, batches[number]) for number in range(38, 42)]
    learner = trainer(data)
    for number in (38, 39):
        learner.step(number, batches[number])
    learner.store(tmp_path / "forcing.pt", 40)
    again = trainer(data)
    assert again.restore(tmp_path / "forcing.pt") == 40
    assert [again.step(number, batches[number]) for number in (40, 41)] == straight[2:]


def test_a_finished_training_goes_on_at_the_full_rate() -> None:
    plan = ForcingPlan()
    calm = plan.phases[-1].steps
    longer = plan.further(calm)
    assert longer.steps == plan.steps + calm
    assert plan.at(plan.steps - 1)[1] < 1e-4
    assert longer.at(plan.steps - 1)[1] == plan.phases[-2].rate
    assert longer.at(100) == plan.at(100)


def test_a_window_holds_one_action(data: LatentSet) -> None:
    turned = [item for item in data.items["short"] if item.stretch.turns_in is not None]
    assert turned
    for item in turned:
        turn = item.stretch.turns_in
        assert turn is not None
        for frames, history in ((4, 1), (7, 5)):
            for first in _places(item, frames):
                after = first + history >= turn + 5
                assert after or first + frames <= turn + 5


def test_the_training_pass_equals_the_stock_model() -> None:
    model = architecture.build(0).transformer
    source = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, 16, 3, 8, 12, generator=source)
    text = torch.randn(1, 7, architecture.TEXT_DIM, generator=source)
    padded = torch.zeros(1, 64, architecture.TEXT_DIM)
    padded[:, :7] = text
    levels = torch.tensor([[20, 700, 999]])
    with torch.no_grad():
        stock = model(
            noisy, levels, padded, enable_diffusion_forcing=True, fps=[1], return_dict=False
        )[0]
        longer = torch.cat([text, torch.ones(1, 2, architecture.TEXT_DIM)], dim=1)
        own, middle = velocities(model, noisy, levels, longer, torch.tensor([7]), 64)
    assert middle.shape == (1, 3, 24, model.proj_out.in_features)
    torch.testing.assert_close(own, stock, atol=2e-5, rtol=1e-4)


def test_training_in_bfloat16_has_the_same_losses_but_for_rounding(
    work: Path, data: LatentSet
) -> None:
    batches, learner = Batches(data, work / "wordings", PLAN), trainer(data)
    learner.step(0, batches[0])
    for number in (1, 45):
        exact, rounded = (
            torch.stack(
                losses_of(learner.average, learner.head, batches[number], precision=precision)
            )
            for precision in (torch.float32, torch.bfloat16)
        )
        assert not torch.equal(exact, rounded)
        torch.testing.assert_close(rounded, exact, rtol=0.01, atol=0)


def test_a_work_folder_begins_with_trained_weights(
    work: Path, data: LatentSet, tmp_path: Path
) -> None:
    trained = architecture.build(5)
    architecture.save(trained, tmp_path / "weights", dtype=torch.bfloat16)
    place = tmp_path / "work"
    start = begin.from_folder(tmp_path / "weights", place)
    rounded = {name: value.bfloat16().float() for name, value in start.items()}
    assert all(torch.equal(rounded[name], value) for name, value in start.items())
    encoder = vae_stage.load(place, CPU).encoder.conv_out.weight
    assert torch.equal(encoder, trained.vae.encoder.conv_out.weight.bfloat16().float())
    assert torch.equal(
        text_stage.load(place).shared.weight, trained.text_encoder.shared.weight.bfloat16().float()
    )
    text_stage.train(text_stage.TextPlan(), place, CPU)  # has nothing left to do
    decoder = vae_stage.load(place, CPU).decoder.conv_out.weight
    assert torch.equal(decoder, trained.vae.decoder.conv_out.weight.bfloat16().float())

    (place / "wordings").symlink_to(work / "wordings")
    plan = replace(PLAN, warm=10**9)  # at this rate a step moves nothing
    made = train_forcing(plan.resumed(), data, place, CPU, stop_at=1, start=start)
    torch.testing.assert_close(made.proj_out.weight, start["proj_out.weight"])


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_a_toybox_starts_nothing(tmp_path: Path, there: bool) -> None:
    folder, place = tmp_path / "weights", tmp_path / "work"
    if there:
        folder.mkdir()
    with pytest.raises(SystemExit, match=f"no weights of a toybox in {folder}"):
        train.main(["--work", str(place), "--from", str(folder)])
    assert not place.exists()


def test_trained_weights_go_on_calming_all_along() -> None:
    plan = ForcingPlan()
    link = plan.resumed()
    assert link.steps == sum(phase.steps for phase in plan.phases[1:])
    rates = [link.at(step)[1] / plan.phases[-1].rate for step in (199, 4000, 7999)]
    assert rates == pytest.approx([1 - 199 / 8000, 0.5, 1 / 8000])


def test_history_is_known_and_never_asked_for(work: Path, data: LatentSet) -> None:
    phase = Phase(12, (Shape(7, 4, 1.0, 3.0),), ("short",), 1e-3, 1e-3)
    batches = Batches(data, work / "wordings", replace(PLAN, phases=(phase,)))
    seen = [batches[number] for number in range(12)]
    known = torch.cat([batch.free == 0 for batch in seen])
    levels = torch.cat([batch.levels for batch in seen])
    assert known.any()
    assert not known.all(dim=1).any()
    assert set(levels[known].tolist()) <= {0, 20, 40}
    assert (levels[~known] >= 1).all()


def test_a_window_begins_with_a_frame_of_its_own(work: Path, data: LatentSet) -> None:
    item = data.items["short"][0]
    clip = item.stretch.draw()[8 : 8 + 17]
    with torch.no_grad():
        alone = vae_stage.load(work, CPU).encode(to_model(clip[None])).latent_dist.mode()[0]
    np.testing.assert_allclose(item.window(2, 5), alone.numpy(), atol=5e-3, rtol=5e-3)
    ended = item.window(2, 5, ended=True)
    assert np.array_equal(ended[:, -1], item.singles[:, 6])


def test_drawing_by_several_processes_draws_the_same(work: Path, tmp_path: Path) -> None:
    parts = (replace(STILLS, shard=3),)
    latents.draw(tmp_path, parts, processes=2)
    drawn = np.concatenate([np.load(tmp_path / f"still{i:04d}.npy") for i in (0, 1)])
    assert np.array_equal(drawn, np.load(work / "drawn" / "still0000.npy"))


def test_the_fast_encoder_equals_the_vae(work: Path, pool: Pool) -> None:
    vae = vae_stage.load(work, CPU)
    with torch.no_grad():
        stock = vae.encode(to_model(pool.clips[:2])).latent_dist.mode()
    fast = encode_fast(codec.fast_encoder(vae), pool.clips[:2])
    torch.testing.assert_close(fast, stock, atol=1e-3, rtol=1e-3)


def test_the_way_down_keeps_almost_everything(pool: Pool) -> None:
    vae = architecture.build(0).vae
    codec.fit_encoder(vae, to_model(pool.clips[:, :8]))
    cells = codec.cells_of(to_model(pool.clips[:, 1:5]))
    features = codec.fast_encoder(vae).features(cells).flatten(0, 2)
    pixels = cells.flatten(0, 2)
    # In float32 the fit depends on the machine's number of threads.
    features, pixels = features.double(), pixels.double()
    back = torch.linalg.lstsq(features, pixels).solution
    error = (features @ back - pixels).square().mean() / pixels.var()
    assert error < 0.002


def test_the_code_is_nearly_linear_sorted_and_as_loud_as_noise(pool: Pool) -> None:
    vae = architecture.build(0).vae
    clips = to_model(pool.clips[:, :8])
    codec.fit_encoder(vae, clips, importance(clips, 4.0))
    encoder = codec.fast_encoder(vae)
    cells = torch.cat([codec.cells_of(clips[:, :, :4]), codec.cells_of(clips[:, :, 4:])])
    code = encoder.code(cells)
    assert code.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert code.square().mean().item() == pytest.approx(1, abs=0.05)
    sizes = code.std(dim=(0, 2, 3))
    assert sizes[0] > sizes[4] > sizes[-1] > 0.1
    halfway = encoder.code((cells[:1] + cells[1:2]) / 2)
    torch.testing.assert_close(halfway, (code[:1] + code[1:2]) / 2, atol=0.1, rtol=0)


def test_the_flattened_vae_equals_the_stock_one() -> None:
    stock, flat = architecture.build(2).vae, flatten(architecture.build(2).vae)
    clip = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = stock.encode(clip).latent_dist.mode()
        torch.testing.assert_close(
            flat.encode(clip).latent_dist.mode(), expected, atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            flat.decode(expected).sample, stock.decode(expected).sample, atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_decoder_learns_and_goes_on_exactly(
    work: Path, tmp_path: Path, pool: Pool, precision: torch.dtype
) -> None:
    plan = vae_stage.DecoderPlan(
        coarse=2, coarse_batch=1, steps=2, whole=0, batch=1, side=16, looked_at=1
    )

    def weights(place: Path, *stops: int | None) -> dict[str, Any]:
        place.mkdir()
        store(place / "vae.pt", 1, vae_stage.load(work, CPU))
        for stop in stops:
            vae = vae_stage.train(plan, place, CPU, pool=pool, stop_at=stop, precision=precision)
        state: dict[str, Any] = vae.decoder.state_dict()
        return state

    straight, resumed = weights(tmp_path / "a", None), weights(tmp_path / "b", 3, None)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_decoder_is_asked_for_the_steps_between_frames_too() -> None:
    count = torch.ones(1, 1, 3, 2, 2)
    count[..., 0] = 3  # half of the pixels count three times
    even = torch.full((1, 3, 3, 2, 2), 0.5)
    jumping = even * torch.tensor([1.0, -1.0, 1.0]).view(1, 1, 3, 1, 1)
    for motion, jumped in ((0.0, 0.25), (2.0, 2.25)):
        for error, expected in ((even, 0.25), (jumping, jumped)):
            found = vae_stage.error_of(error, count, motion)
            assert found.item() == pytest.approx(expected)
    left = torch.tensor([1.0, 0.0]).expand(1, 3, 3, 2, 2)
    assert vae_stage.error_of(left, count, 2.0).item() == pytest.approx(0.75)


def test_the_text_encoder_learns_what_captions_say(tmp_path: Path) -> None:
    plan = text_stage.TextPlan(steps=12, batch=8)
    text_stage.train(plan, tmp_path, CPU)
    rows = (tmp_path / "text.csv").read_text().splitlines()
    assert rows[-1].startswith("12,")
    loaded = text_stage.load(tmp_path)
    untrained = architecture.build(plan.seed).text_encoder
    assert not torch.equal(loaded.shared.weight, untrained.shared.weight)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_muon_makes_matrices_orthogonal(shape: tuple[int, int], precision: torch.dtype) -> None:
    matrix = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    sizes = torch.linalg.svdvals(orthogonal(matrix.to(precision)).float())
    assert sizes.min() > 0.3
    assert sizes.max() < 1.6


def test_captions_are_encoded_as_the_engine_will(work: Path) -> None:
    said = wordings.Wordings(work / "wordings" / "still")
    assert len(said) == STILLS.count * said.copies
    found = said.pick(0, 0, 1, np.random.default_rng(0))
    text, lengths = wordings.pad([found, found[:3]])
    assert text.shape == (2, wordings.LONGEST, architecture.TEXT_DIM)
    assert lengths.tolist() == [len(found), 3]
    assert not text[1, 3:].any()
    empty = wordings.Wordings(work / "wordings" / wordings.EMPTY)[0]
    reader = architecture.build(0).text_encoder
    ids = architecture.tokenizer()("", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = reader(ids).last_hidden_state[0].numpy()
    np.testing.assert_allclose(empty, expected, atol=5e-3)


def test_the_exported_folder_carries_the_average(
    work: Path, data: LatentSet, tmp_path: Path
) -> None:
    learner = trainer(data)
    batches = Batches(data, work / "wordings", PLAN)
    learner.step(0, batches[0])
    learner.store(work / "forcing.pt", 1)
    store(work / "text.pt", 1, text_stage.Reader(architecture.build(0).text_encoder))
    train.export(work, PLAN, tmp_path)
    loaded = architecture.load(tmp_path)
    weight = averaged(PLAN, work).proj_out.weight
    assert torch.equal(loaded.transformer.proj_out.weight, weight.detach().bfloat16().float())
    encoder = vae_stage.load(work, CPU).encoder.conv_out.weight
    assert torch.equal(loaded.vae.encoder.conv_out.weight, encoder)
