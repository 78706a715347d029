"""Trains the toybox from nothing: `python -m storyflow.toybox.train --work DIR [--device cuda]`.

Seven stages, each of which goes on where it was stopped:

1. `draw`: stretches of the world as pixels (latents.py);
2. `code`: the VAE's encoder (code_stage.py);
3. `latents`: the training set is encoded;
4. `text`: the text encoder learns what captions say (text_stage.py);
5. `wordings`: captions of the training set are encoded (wordings.py);
6. `forcing`: the transformer, from still pictures to films (forcing_plan.py, batches.py and
   forcing_stage.py);
7. `decoder`: the VAE's decoder (vae_stage.py); it may run beside the others, in a process with
   `--stage decoder`.

`--until STEP` ends the stages `forcing` and `decoder` at a step, so that a long training is a chain
of short ones; `--stage` runs only some. `--further STEPS` goes on with a finished transformer: so
many steps more at the full rate, then calm ones again. With `--processes` several processes draw
the world and make batches; `--fuse` compiles the blocks (it wants a C++ compiler; a minute for each
shape, a quarter off each step), and `--bfloat16` shortens the rest on CPUs that multiply such
matrices (`avx512_bf16` in `lscpu`). `--from FOLDER` starts from the weights of a Diffusers
folder, such as the one that is shipped: its VAE's encoder and its text encoder are kept, the
transformer goes on with films at a rate that falls all along, and the decoder goes on too.
`--longer` and `--more` multiply steps and data, for machines that have the time: on a GPU,
`--device cuda --processes 12 --longer 10 --more 3`.

The result is a Diffusers folder in bfloat16. Every step is a function of seed and number: the same
machine with the same number of `--threads` gives the same weights.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from storyflow.errors import StoryflowError
from storyflow.toybox import (
    architecture,
    begin,
    code_stage,
    forcing_stage,
    latents,
    text_stage,
    vae_stage,
    wordings,
)
from storyflow.toybox.forcing_plan import ForcingPlan
from storyflow.toybox.latents import LatentSet
from storyflow.toybox.windows import PORTIONS

STAGES = ("draw", "code", "latents", "text", "wordings", "forcing", "decoder")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints and data")
    parser.add_argument("--out", type=Path, help="the Diffusers folder, default WORK/weights")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only these stages")
    parser.add_argument("--until", type=int, help="stop `forcing` and `decoder` at this step")
    parser.add_argument("--device", default="cpu", help="such as cuda; the world is drawn on CPUs")
    parser.add_argument("--processes", type=int, default=1, help="that draw and make batches")
    parser.add_argument("--fuse", action="store_true", help="compile the transformer's blocks")
    parser.add_argument("--longer", type=int, default=1, help="times the steps of each stage")
    parser.add_argument("--further", type=int, default=0, help="more steps at the full rate")
    parser.add_argument("--more", type=int, default=1, help="times the data")
    parser.add_argument("--from", dest="start", type=Path, help="a folder of trained weights")
    parser.add_argument("--bfloat16", action="store_true", help="multiply matrices in bfloat16")
    parser.add_argument("--threads", type=int, default=1, help="that compute")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        run(given, given.stage or STAGES)
    except StoryflowError as error:
        raise SystemExit(str(error)) from error


def run(given: argparse.Namespace, stages: tuple[str, ...] | list[str]) -> None:
    """The stages in their order; where both networks are there, the folder is written."""
    work, device = given.work, device_of(given.device)
    longer = given.longer
    plan = ForcingPlan().longer(longer).further(given.further)
    portions = [replace(portion, count=portion.count * given.more) for portion in PORTIONS]
    painting = vae_stage.DecoderPlan().longer(longer)
    precision = torch.bfloat16 if given.bfloat16 else torch.float32
    start = None
    if given.start is not None:
        start = begin.from_folder(given.start, work)
        plan, painting = plan.resumed(), painting.resumed()
    if "draw" in stages:
        latents.draw(work / "drawn", portions, given.processes)
    if "code" in stages:
        code_stage.fit(work)
    if "latents" in stages:
        latents.encode(vae_stage.load(work, device), work / "drawn", work / "latents", portions)
    if "text" in stages:
        text_stage.train(text_stage.TextPlan(), work, device)
    if "wordings" in stages:
        reader = text_stage.load(work).to(device)
        wordings.write(reader, work / "wordings", portions, latents.SEED)
    if "forcing" in stages:
        forcing_stage.train(
            plan,
            LatentSet(work / "latents"),
            work,
            device,
            stop_at=given.until,
            processes=given.processes,
            fused=given.fuse,
            precision=precision,
            start=start,
        )
    if "decoder" in stages:
        vae_stage.train(painting, work, device, stop_at=given.until, precision=precision)
    if "forcing" in stages or "decoder" in stages:
        export(work, plan, given.out or work / "weights")


def device_of(name: str) -> torch.device:
    """A device, with the settings under which it repeats itself."""
    device = torch.device(name)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return device


def export(work: Path, plan: ForcingPlan, folder: Path) -> None:
    """Write the Diffusers folder in bfloat16 from the work folder's checkpoints."""
    vae = vae_stage.load(work, torch.device("cpu"))
    write(vae, forcing_stage.averaged(plan, work), text_stage.load(work), folder)


def write(vae: Any, transformer: Any, text_encoder: Any, folder: Path) -> None:
    """The folder of trained networks."""
    fresh = architecture.build(0)
    fresh.vae.load_state_dict(vae.state_dict())
    fresh.transformer.load_state_dict(transformer.state_dict())
    fresh.text_encoder.load_state_dict(text_encoder.state_dict())
    architecture.save(fresh, folder, dtype=torch.bfloat16)


if __name__ == "__main__":
    main()
