"""What a diffusion-forcing model and its sampler are told; plain values, imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

from storyflow.forcing.lattice import ForcingLattice
from storyflow.forcing.schedule import Spacing, guided_steps, make_schedule
from storyflow.forcing.wrong import WrongSetting


@dataclass(frozen=True)
class Lora:
    """A LoRA and its scale; `id`, `file` and `revision` name it as a model is named."""

    id: str
    file: str | None = None
    revision: str | None = None
    scale: float = 1.0


_NEUTRAL: dict[str, object] = {
    "ar_step": 0,
    "block": 1,
    "guidance_from": 0.0,
    "guidance_to": 1.0,
    "solver": "unipc",
    "step_cache": 0.0,
    "vae_dtype": "float32",
    "quantize": "none",
    "causal": False,
}
"""Settings that came after the first release, with the values that change nothing. At these they
stay out of the keys, so that an upgrade does not void a store."""

_NOT_PIXELS = frozenset(
    {
        *("model", "revision", "loras", "window", "overlap", "threads", "device"),
        *("attention", "compile", "fuse_guidance", "offload"),
    }
)


@dataclass(frozen=True)
class ForcingConfig:
    """Settings of one SkyReels-V2 diffusion-forcing model.

    `model` is `toybox`, a local Diffusers folder or a hub id, `revision` a hub id's commit, tag or
    branch. `window` and `overlap` count frames; `history_noise` is in thousandths. `threads` are
    torch's on the CPU: their number can change the last bits. `solver_aliasing` brings back an
    error of both reference codes (see solver.py), for comparisons with them only. `guidance_from`
    and `guidance_to` are parts of the steps. What the other settings mean stands with the profile's
    fields of the same names (storyflow/pipeline.py).

    Raises WrongSetting, with the cure, for values that can't work together.
    """

    model: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    window: int = 97
    overlap: int = 17
    steps: int = 30
    guidance: float = 6.0
    shift: float = 8.0
    sigmas: Spacing = "reference"
    history: Literal["pixels", "latents"] = "pixels"
    history_noise: int = 20
    fps: Fraction = Fraction(24)
    ar_step: int = 0
    block: int = 1
    guidance_from: float = 0.0
    guidance_to: float = 1.0
    solver: Literal["unipc", "consistency"] = "unipc"
    solver_aliasing: bool = False
    step_cache: float = 0.0
    vae_dtype: Literal["float32", "bfloat16"] = "float32"
    quantize: Literal["none", "int8", "fp8"] = "none"
    loras: tuple[Lora, ...] = ()
    causal: bool = False
    attention: Literal["auto", "native", "cudnn", "flash", "flash-3"] = "auto"
    compile: bool = False
    fuse_guidance: bool = False
    offload: Literal["none", "blocks"] = "none"
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.model:
            raise WrongSetting("model", "no model is named; give a folder, a hub id or `toybox`")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise WrongSetting("dtype", f"dtype {self.dtype}: choose float32, bfloat16 or float16")
        if self.guidance < 1:
            raise WrongSetting("guidance", f"guidance {self.guidance}: give 1 (off) or more")
        if self.history not in ("pixels", "latents"):
            raise WrongSetting("history", f"history {self.history}: choose pixels or latents")
        if not 0 <= self.history_noise <= 60:
            raise WrongSetting(
                "history_noise", f"history_noise {self.history_noise}: give 0 to 60 thousandths"
            )
        if self.fps <= 0:
            raise WrongSetting("fps", f"fps {self.fps}: give a positive rate")
        if not 0 <= self.guidance_from < self.guidance_to <= 1:
            raise WrongSetting(
                "guidance_to",
                f"guidance from {self.guidance_from:g} to {self.guidance_to:g}: give parts of the "
                "steps, 0 to 1, the first smaller",
            )
        if self.ar_step < 0 or self.block < 1:
            raise WrongSetting(
                "ar_step",
                f"ar_step {self.ar_step}, block {self.block}: give ar_step 0 or more, block 1 or "
                "more",
            )
        if self.step_cache and self.ar_step:
            raise WrongSetting(
                "step_cache",
                "step_cache skips steps of the whole window at once, an asynchronous schedule has "
                "none; set step_cache or ar_step to 0",
            )
        if self.step_cache and self.solver == "consistency":
            raise WrongSetting(
                "step_cache",
                "step_cache leaves nothing of the few steps of the solver consistency; set it to 0",
            )
        if self.causal and not self.ar_step:
            raise WrongSetting(
                "causal", "causal weights are for asynchronous schedules; set ar_step to 1 or more"
            )
        if self.threads < 1:
            raise WrongSetting("threads", f"threads {self.threads}: give 1 or more")
        _ = self.lattice
        make_schedule(self.steps, self.shift, self.sigmas)
        if self.guided:
            guided_steps(self.steps, self.guidance_from, self.guidance_to)

    @property
    def lattice(self) -> ForcingLattice:
        """Which segment lengths these settings allow."""
        return ForcingLattice(window=self.window, overlap=self.overlap)

    @property
    def guided(self) -> bool:
        """Whether a negative prompt is read, at the cost of a second forward pass per step."""
        return self.guidance > 1

    def pixel_fields(self) -> tuple[tuple[str, object], ...]:
        """Every setting that changes a segment's pixels, as JSON-able values for its key.

        Not the model (its identity stands beside this in the key), not device and threads (they
        can change the last bits only; the numerics class records them), not `window` and `overlap`
        (each segment has its own). LoRAs stand beside the model too, by their content.
        """
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_PIXELS}
        if not self.ar_step:
            kept["block"] = _NEUTRAL["block"]
        if not self.guided:
            kept["guidance_from"], kept["guidance_to"] = 0.0, 1.0
        told = ((k, v) for k, v in kept.items() if k not in _NEUTRAL or v != _NEUTRAL[k])
        return tuple((name, str(v) if isinstance(v, Fraction) else v) for name, v in told)
