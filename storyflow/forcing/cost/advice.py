"""What some settings mean for the one who waits and pays: told when a film is planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from storyflow.errors import Problem
from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cost.flops import forward_passes


def advice(config: ForcingConfig) -> tuple[Problem, ...]:
    """Notices about settings that are legal and may surprise."""
    return tuple(_advice(config))


def _advice(config: ForcingConfig) -> Iterator[Problem]:
    if config.ar_step:
        passes = forward_passes(config, config.window)
        plain = forward_passes(replace(config, ar_step=0), config.window)
        what = (
            f"the asynchronous schedule takes {passes} passes through the model for a whole "
            f"window instead of {plain}, {passes / plain:.2f} times the compute"
        )
        yield _notice("asynchronous", what, "forcing.ar_step", "set it to 0 for one schedule")
    if config.step_cache:
        what = (
            "the step cache leaves out steps and so loses detail; the authors of these weights "
            "advise against it for diffusion forcing"
        )
        yield _notice("step-cache", what, "forcing.step_cache", "set it to 0 for the final film")


def _notice(code: str, what: str, path: str, cure: str) -> Problem:
    return Problem(code, what, path=path, cure=cure, level="notice")
