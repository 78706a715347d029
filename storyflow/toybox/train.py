"""Trains the toybox from nothing: `python -m storyflow.toybox.train --work DIR`.

Three stages, each of which goes on where it was stopped:

1. `vae`: the VAE (see vae_stage.py);
2. `latents`: the training set is drawn and encoded;
3. `forcing`: text encoder and transformer (see forcing_stage.py).

`--from FOLDER` starts the last two stages from trained weights in place of random ones, and
`--steps` sets how far it goes, so that a long training is a chain of short ones:
`--stage latents --stage forcing --from storyflow/toybox/weights`. The result is a Diffusers folder
in bfloat16. One thread: the same machine gives the same weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from storyflow.toybox import architecture, forcing_stage, vae_stage
from storyflow.toybox.checkpoint import restore
from storyflow.toybox.latents import SHARD, LatentSet, encode
from storyflow.toybox.planes import flatten
from storyflow.toybox.windows import windows

WINDOWS = 6000
DATA_SEED = 3
STAGES = ("vae", "latents", "forcing")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints and data")
    parser.add_argument("--out", type=Path, help="the Diffusers folder, default WORK/weights")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only these stages")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="size of the training set")
    parser.add_argument("--steps", type=int, help="of the stage `forcing`")
    parser.add_argument("--from", dest="start", type=Path, help="trained weights to go on from")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    stages = given.stage or STAGES
    if "vae" in stages:
        vae_stage.train(vae_stage.VaePlan(), given.work)
    start = architecture.load(given.start) if given.start else None
    if "latents" in stages:
        make_latents(load_vae(given.work, start), given.work / "latents", given.windows)
    if "forcing" in stages:
        plan = forcing_stage.ForcingPlan()
        if given.steps:
            plan = forcing_stage.ForcingPlan(steps=given.steps)
        data = LatentSet(given.work / "latents")
        if start is not None:
            data.keep(start.vae.config.latents_mean, start.vae.config.latents_std)
        vae = load_vae(given.work, start)
        trained = forcing_stage.train(plan, data, given.work, start=start)
        export(vae, trained, data, given.out or given.work / "weights")


def load_vae(work: Path, start: architecture.Components | None = None) -> Any:
    """The VAE of a work folder, else of trained weights, with its fast kernels."""
    vae = architecture.build(0).vae
    if not restore(work / "vae.pt", vae):
        if start is not None:
            return flatten(start.vae).eval()
        raise FileNotFoundError(f"{work / 'vae.pt'} is missing; train the stage `vae` first")
    return flatten(vae).eval()


def make_latents(vae: Any, folder: Path, count: int) -> None:
    """Draw and encode the training set; files that are there already are kept."""
    todo = list(windows(count, DATA_SEED))
    for number in range(0, count, SHARD):
        path = folder / f"{number // SHARD:04d}.npz"
        if not path.exists():
            part = todo[number : number + SHARD]
            encode(vae, part, path, [window.draw() for window in part])


def export(vae: Any, networks: Any, data: LatentSet, folder: Path) -> None:
    """Write the Diffusers folder in bfloat16, the data's latent statistics in the VAE's config."""
    mean, std = data.statistics()
    fresh = architecture.build(0)
    fresh.vae.load_state_dict(vae.state_dict())
    fresh.vae.register_to_config(latents_mean=mean, latents_std=std)
    fresh.transformer.load_state_dict(networks.transformer.state_dict())
    fresh.text_encoder.load_state_dict(networks.text_encoder.state_dict())
    architecture.save(fresh, folder, dtype=torch.bfloat16)


if __name__ == "__main__":
    main()
