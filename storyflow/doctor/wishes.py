"""What a pipeline asks of the machines that render it; nothing is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storyflow.cluster import Cluster, WorkersSection
from storyflow.doctor.facts import ModelAsked
from storyflow.pipeline import Profile
from storyflow.renderer import CardFit, ModelKind

EMBEDDED = "toybox"
"""The model that is part of the package."""


@dataclass(frozen=True)
class Wishes:
    """`fit` says whether the longest window can be rendered on a card of so many bytes, None for
    kinds that need no card. `sends_clips` tells of a captioner, whose frames pass through Ray's
    object store."""

    workers: WorkersSection
    wants_gpu: bool
    needs_torch: bool
    models: tuple[ModelAsked, ...]
    fit: Callable[[int], CardFit] | None
    sends_clips: bool
    cache_bytes: int


def wishes_of(profile: Profile, kind: ModelKind, cluster: Cluster) -> Wishes:
    """The wishes of a checked profile on a cluster."""
    window = profile.windows.trained
    on_card = kind.fit
    return Wishes(
        workers=cluster.workers,
        wants_gpu=kind.wants_gpu,
        needs_torch=kind.embeds_prompts,
        models=_models(profile),
        fit=None if on_card is None else lambda size: on_card(window, size),
        sends_clips=profile.prompts.captioner == "vllm",
        cache_bytes=cluster.cache.limit.size,
    )


def without_model(profile: Profile, cluster: Cluster) -> Wishes:
    """What is known of the wishes where the model itself is not here."""
    return Wishes(
        workers=cluster.workers,
        wants_gpu=profile.model.kind != "slate",
        needs_torch=profile.model.kind != "slate",
        models=_models(profile),
        fit=None,
        sends_clips=profile.prompts.captioner == "vllm",
        cache_bytes=cluster.cache.limit.size,
    )


def _models(profile: Profile) -> tuple[ModelAsked, ...]:
    model, prompts = profile.model, profile.prompts
    found: list[ModelAsked] = []
    if model.kind != "slate" and model.id != EMBEDDED:
        found.append(ModelAsked(model.id, "renderer", model.revision))
    if model.kind != "slate":
        found += (ModelAsked(lora.id, "lora", lora.revision) for lora in model.loras)
    for writer, settings in (
        (prompts.enhancer, prompts.language),
        (prompts.captioner, prompts.vision),
    ):
        if writer == "vllm":
            found.append(ModelAsked(settings.model, "language model", settings.revision))
    return tuple(dict.fromkeys(found))
