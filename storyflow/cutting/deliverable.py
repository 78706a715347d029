"""Whether a film can be delivered as its profile says: asked before anything is rendered."""

from __future__ import annotations

from collections.abc import Iterator

from storyflow.cutting.coding import further_codings
from storyflow.cutting.geometry import geometry
from storyflow.errors import Problem, ProfileError
from storyflow.pipeline import DeliverSection
from storyflow.planning.nodes import Plan
from storyflow.timing import nominal, timecode


def refuse_delivery(plan: Plan, deliver: DeliverSection) -> None:
    """Raise ProfileError for a delivery that this film can't have, with all that is wrong."""
    problems = list(_problems(plan, deliver))
    if problems:
        raise ProfileError(problems)


def _problems(plan: Plan, deliver: DeliverSection) -> Iterator[Problem]:
    size = geometry(plan.size, deliver).delivered
    for coding in further_codings(deliver):
        least = coding.least
        if size.width < least.width or size.height < least.height:
            yield Problem(
                "small-delivery",
                f"{coding.name} takes pictures of {least} or more, the film's are {size}",
                path="deliver.formats",
                value=coding.name,
                cure="name a larger deliver.size or another format",
            )
    hours, *_, frames = (int(part) for part in deliver.timecode.split(":"))
    if hours > 23 or frames >= nominal(plan.fps):
        yield Problem(
            "bad-timecode",
            f"no timecode of {plan.fps} frames a second",
            path="deliver.timecode",
            value=deliver.timecode,
            cure=f"hours go to 23, frames to {nominal(plan.fps) - 1}",
        )
    if deliver.poster is not None and deliver.poster.to_frames(plan.fps) >= plan.frames:
        yield Problem(
            "late-poster",
            f"the film ends at {timecode(plan.frames, plan.fps)}",
            path="deliver.poster",
            value=str(deliver.poster),
            cure="name an earlier time, or none",
        )
