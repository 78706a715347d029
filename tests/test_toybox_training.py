"""Training: equal to the stock model, the same every time, and it goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from storyflow.toybox import architecture, train, vae_stage
from storyflow.toybox.batched import velocities
from storyflow.toybox.forcing_stage import Batches, ForcingPlan, Networks, Trainer, prepare
from storyflow.toybox.latents import LatentSet, encode
from storyflow.toybox.planes import flatten
from storyflow.toybox.windows import Window

PLAN = ForcingPlan(steps=50, shapes=((3, 1, 1.0),), late=50, warm=5, cool=5)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LatentSet:
    folder = tmp_path_factory.mktemp("latents")
    parts = [Window(1, "fresh", 0, 9), Window(2, "going", 30, 9), Window(3, "fresh", 0, 9)]
    vae = flatten(architecture.build(1).vae).eval()
    encode(vae, parts, folder / "0000.npz", [window.draw() for window in parts])
    return LatentSet(folder)


def trainer() -> Trainer:
    built = architecture.build(PLAN.seed)
    return Trainer(PLAN, prepare(Networks(built.transformer, built.text_encoder), PLAN.seed))


def losses(data: LatentSet, count: int) -> list[float]:
    batches, learner = Batches(data, PLAN, architecture.tokenizer()), trainer()
    return [learner.step(number, batches[number]) for number in range(count)]


def test_the_first_fifty_losses_repeat(data: LatentSet) -> None:
    first = losses(data, 50)
    assert first == losses(data, 50)
    assert np.mean(first[-10:]) < np.mean(first[:10])


def test_a_stopped_training_goes_on_exactly(data: LatentSet, tmp_path: Path) -> None:
    batches, learner = Batches(data, PLAN, architecture.tokenizer()), trainer()
    straight = [learner.step(number, batches[number]) for number in range(6)]
    learner = trainer()
    for number in range(3):
        learner.step(number, batches[number])
    learner.store(tmp_path / "forcing.pt", 3)
    again = trainer()
    assert again.restore(tmp_path / "forcing.pt") == 3
    assert [again.step(number, batches[number]) for number in range(3, 6)] == straight[3:]


def test_the_training_pass_equals_the_stock_model() -> None:
    model = architecture.build(0).transformer
    source = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, 3, 8, 12, generator=source)
    text = torch.randn(1, 7, architecture.TEXT_DIM, generator=source)
    padded = torch.zeros(1, 64, architecture.TEXT_DIM)
    padded[:, :7] = text
    levels = torch.tensor([[20, 700, 999]])
    with torch.no_grad():
        stock = model(
            latents, levels, padded, enable_diffusion_forcing=True, fps=[1], return_dict=False
        )[0]
        longer = torch.cat([text, torch.ones(1, 2, architecture.TEXT_DIM)], dim=1)
        own = velocities(model, latents, levels, longer, torch.tensor([7]), 64)
    torch.testing.assert_close(own, stock, atol=2e-5, rtol=1e-4)


def test_history_is_known_and_never_asked_for(data: LatentSet) -> None:
    plan = replace(PLAN, shapes=((3, 6, 1.0),))
    batches = Batches(data, plan, architecture.tokenizer())
    seen = [batches[number] for number in range(12)]
    known = torch.cat([batch.free == 0 for batch in seen])
    levels = torch.cat([batch.levels for batch in seen])
    assert known.any()
    assert not known.all(dim=1).any()
    assert set(levels[known].tolist()) <= {0, 20, 40}
    assert (levels[~known] >= 1).all()


def test_the_flattened_vae_equals_the_stock_one() -> None:
    stock, flat = architecture.build(2).vae, flatten(architecture.build(2).vae)
    clip = torch.rand(1, 3, 9, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = stock.encode(clip).latent_dist.mode()
        torch.testing.assert_close(
            flat.encode(clip).latent_dist.mode(), expected, atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            flat.decode(expected).sample, stock.decode(expected).sample, atol=1e-4, rtol=0
        )


def test_the_vae_learns_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    plan = vae_stage.VaePlan(steps=8, pictures=4, encoder=6, whole=1, batch=1, side=16, pool=6)
    vae_stage.train(plan, tmp_path, stop_at=4)
    trained = vae_stage.train(plan, tmp_path)
    assert trained(torch.zeros(1, 3, 5, 16, 16)).sample.shape == (1, 3, 5, 16, 16)
    rows = (tmp_path / "vae.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "4", "8"]


def test_the_exported_folder_carries_the_latent_statistics(data: LatentSet, tmp_path: Path) -> None:
    built = architecture.build(5)
    networks = Networks(built.transformer, built.text_encoder)
    train.export(built.vae, networks, data, tmp_path)
    loaded = architecture.load(tmp_path)
    mean, scale = data.statistics()
    assert loaded.vae.config.latents_mean == pytest.approx(mean)
    assert loaded.vae.config.latents_std == pytest.approx(scale)
    weight = built.transformer.proj_out.weight
    assert torch.equal(loaded.transformer.proj_out.weight, weight.bfloat16().float())


def test_training_goes_on_from_a_folder_of_weights(tmp_path: Path) -> None:
    started = tmp_path / "started"
    architecture.save(architecture.build(6), started, dtype=torch.bfloat16)
    where = ["--work", str(tmp_path / "work"), "--from", str(started)]
    train.main([*where, "--stage", "latents", "--windows", "3"])
    train.main([*where, "--stage", "forcing", "--steps", "2"])
    first, after = architecture.load(started), architecture.load(tmp_path / "work" / "weights")
    assert after.vae.config.latents_mean == first.vae.config.latents_mean
    assert torch.equal(after.vae.decoder.conv_in.weight, first.vae.decoder.conv_in.weight)
    assert not torch.equal(after.transformer.proj_out.weight, first.transformer.proj_out.weight)
