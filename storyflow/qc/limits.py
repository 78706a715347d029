"""The limits that quality is held against: one table, `limits.yaml`, that another can replace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from storyflow.documents import Document, Strict, read_document
from storyflow.errors import ProfileError
from storyflow.qc.verdicts import Level
from storyflow.settings import load_settings

SHIPPED = Path(__file__).with_name("limits.yaml")
"""storyflow's own table."""


class Limit(Strict):
    """Where a measure begins to be a warning, and a failure; `null` is never."""

    warn: float | None = Field(default=None, ge=0.0, description="At or beyond: a warning.")
    fail: float | None = Field(default=None, ge=0.0, description="At or beyond: a failure.")
    source: str = Field(default="", description="Where the numbers come from.")

    def level(self, value: float, *, below: bool = False) -> Level:
        """How bad a value is; `below` for measures of which less is worse."""
        for level, limit in (("fail", self.fail), ("warn", self.warn)):
            if limit is not None and (value <= limit if below else value >= limit):
                return "fail" if level == "fail" else "warn"
        return "pass"

    def passed(self, level: Level) -> float:
        """The limit that a value of this level has passed."""
        return float((self.fail if level == "fail" else self.warn) or 0.0)


class Limits(Strict):
    """Every limit. What a file leaves out is storyflow's own; see `limits.yaml` for the units."""

    storyflow: Literal[1] = Field(default=1, description="Format version.")
    about: str = Field(default="", description="One line for people.")
    seam_ratio: Limit
    warp_ratio: Limit
    colour_step: Limit
    sharpness_step: Limit
    light_drift: Limit
    saturation_drift: Limit
    rhythm: Limit
    chroma_trend: Limit
    detail_trend: Limit
    freeze: Limit
    black: Limit
    repeats: Limit
    cut_ratio: Limit
    jump: Limit
    flash: Limit
    ssim: Limit
    vmaf: Limit

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        return {**_own(), "about": "", **data}


def load_limits(path: Path | None = None, overrides: Sequence[str] = ()) -> Limits:
    """storyflow's limits, or those of a file. `overrides` are texts as `seam_ratio.warn=4`.

    Raises ProfileError: no such file, an unknown measure, a number that is none.
    """
    return load_settings(Limits, path or SHIPPED, overrides)


@cache
def _own() -> dict[str, object]:
    document: Document = read_document(SHIPPED, error=ProfileError)
    assert isinstance(document.data, dict)
    return document.data
