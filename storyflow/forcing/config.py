"""What a diffusion-forcing model and its sampler are told; plain values, imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

from storyflow.forcing.lattice import ForcingLattice
from storyflow.forcing.schedule import Spacing, make_schedule


@dataclass(frozen=True)
class ForcingConfig:
    """Settings of one SkyReels-V2 diffusion-forcing model.

    `model` is `toybox`, a local Diffusers folder or a hub id, `revision` a hub id's commit, tag or
    branch. `window` and `overlap` count frames; `history_noise` is in thousandths. `threads` are
    torch's on the CPU: their number can change the last bits. `solver_aliasing` brings back an
    error of both reference codes (see solver.py), for comparisons with them only.

    Raises ValueError, with the cure, for values that can't work together.
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
    solver_aliasing: bool = False
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("no model is named; give a folder, a hub id or `toybox`")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype {self.dtype}: choose float32, bfloat16 or float16")
        if self.guidance < 1:
            raise ValueError(f"guidance {self.guidance}: give 1 (off) or more")
        if self.history not in ("pixels", "latents"):
            raise ValueError(f"history {self.history}: choose pixels or latents")
        if not 0 <= self.history_noise <= 60:
            raise ValueError(f"history_noise {self.history_noise}: give 0 to 60 thousandths")
        if self.fps <= 0:
            raise ValueError(f"fps {self.fps}: give a positive rate")
        if self.threads < 1:
            raise ValueError(f"threads {self.threads}: give 1 or more")
        _ = self.lattice
        make_schedule(self.steps, self.shift, self.sigmas)

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
        (each segment has its own).
        """
        left_out = {"model", "revision", "window", "overlap", "threads", "device"}
        kept = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name not in left_out)
        return tuple((name, str(v) if isinstance(v, Fraction) else v) for name, v in kept)
