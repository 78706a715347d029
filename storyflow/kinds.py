"""The kinds of models that a profile can name; nothing here loads a model or imports torch.

`pixel_fields` of a kind are exactly the profile's fields that change pixels, so they and nothing
else of the profile enter a segment's key (frame size and window stand there as well).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from storyflow.documents import Strict
from storyflow.errors import Problem, ProfileError
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.cost.advice import advice
from storyflow.forcing.cost.flops import forward_passes, segment_flops
from storyflow.forcing.lattice import ForcingLattice, TransformerShape
from storyflow.forcing.tokens import PromptTokens
from storyflow.forcing.wrong import WrongSetting
from storyflow.pipeline import (
    EngineSection,
    ForcingSection,
    ModelSection,
    Profile,
    WindowsSection,
)
from storyflow.renderer import CardFit, Cost, ModelKind, Renderer, TextEncoder
from storyflow.storyboard.resolved import Mode
from storyflow.timing import Size

if TYPE_CHECKING:
    from storyflow.forcing.cost.memory import Fit


def kind_of(profile: Profile, *, threads: int = 1) -> ModelKind:
    """The model kind of a profile. `threads` are a worker's CPU threads.

    Raises ProfileError for settings that can't work together, ModelError where no model is found
    or one of another kind.
    """
    try:
        if profile.model.kind == "slate":
            kind = _slate(profile)
        elif profile.model.kind == "skyreels-v2":
            kind = _sequence(profile, threads)
        else:
            kind = _forcing(profile, threads)
    except WrongSetting as error:
        problem = Problem("wrong-setting", str(error), path=_place(error.setting))
        raise ProfileError([problem]) from None
    floor, window = profile.windows.floor, profile.windows.trained
    if floor > window:
        what = f"the floor is longer than the trained window of {window} frames"
        cure = f"use {window} or less"
        problem = Problem("wrong-setting", what, path="windows.floor", value=floor, cure=cure)
        raise ProfileError([problem])
    return kind


def _slate(profile: Profile) -> ModelKind:
    def renderer() -> Renderer:
        from storyflow.slate import SlateRenderer

        return SlateRenderer(profile.slate, profile.fps)

    def cost(window: int, overlap: int = 0) -> Cost:
        return Cost(flops=0.0)

    return ModelKind(
        name="slate",
        lattice=ForcingLattice(window=profile.windows.trained, overlap=profile.windows.overlap),
        identity="slate",
        pixel_fields=(("fps", str(profile.fps)),),
        embeds_prompts=False,
        draws_labels=True,
        keeps_latents=False,
        cost=cost,
        renderer=renderer,
        text_encoder=None,
    )


def _forcing(profile: Profile, threads: int) -> ModelKind:
    from storyflow.forcing.weights.family import FORCING
    from storyflow.forcing.weights.identity import identity
    from storyflow.forcing.weights.source import checkpoint, locate

    model, size = profile.model, profile.frame
    config = _config(profile, threads)
    source = locate(model.id, model.revision)
    found = checkpoint(model.id, model.revision, (FORCING,))
    weights = identity(model.id, model.revision)

    def renderer() -> Renderer:
        from storyflow.forcing.renderer import ForcingRenderer

        return ForcingRenderer(config)

    def cost(window: int, overlap: int = 0) -> Cost:
        frame = (size.width, size.height)
        return Cost(flops=segment_flops(config, found.shape, *frame, window, overlap))

    return ModelKind(
        name="skyreels-v2-df",
        lattice=config.lattice,
        identity=_identity(weights, config),
        pixel_fields=config.pixel_fields(),
        embeds_prompts=True,
        draws_labels=False,
        keeps_latents=True,
        cost=cost,
        renderer=renderer,
        text_encoder=lambda: _text_encoder(config),
        notice=RANDOM_WEIGHTS if source.random else None,
        encoder=f"{weights} {config.dtype}",
        reads_negative=config.guided,
        wants_gpu=model.id != "toybox",
        notices=advice(config),
        memory=None if model.id == "toybox" else _memory(config, found.shape, size),
        fit=None if model.id == "toybox" else _fit(config, found.shape, size),
        tokens=PromptTokens(model.id, model.revision),
    )


RANDOM_WEIGHTS = "toybox has no trained weights yet: it renders with random ones, so expect noise"


def _sequence(profile: Profile, threads: int) -> ModelKind:
    from storyflow.forcing.sequence.lattice import SequenceLattice
    from storyflow.forcing.sequence.settings import NEUTRAL, pixel_fields
    from storyflow.forcing.weights.family import CLIP_TOKENS, SEQUENCE
    from storyflow.forcing.weights.identity import identity
    from storyflow.forcing.weights.source import checkpoint

    model, size = profile.model, profile.frame
    _refuse_forcing_settings(profile)
    lattice = SequenceLattice(profile.windows.trained)
    config = _config(profile, threads, **NEUTRAL)
    found = checkpoint(model.id, model.revision, SEQUENCE)
    pictures = found.shape.image_tokens // CLIP_TOKENS
    if config.step_cache and pictures:
        what = "the step cache is fitted to text-to-video weights, not to image-to-video ones"
        path, value = "forcing.step_cache", config.step_cache
        raise ProfileError(
            [Problem("wrong-setting", what, path=path, value=value, cure="remove it")]
        )
    weights = identity(model.id, model.revision)
    modes: tuple[Mode, ...] = ("text", "image", "first-last")

    def renderer() -> Renderer:
        from storyflow.forcing.sequence.renderer import SequenceRenderer

        return SequenceRenderer(config)

    def cost(window: int, overlap: int = 0) -> Cost:
        return Cost(flops=segment_flops(config, found.shape, size.width, size.height, window))

    return ModelKind(
        name="skyreels-v2",
        lattice=lattice,
        identity=_identity(weights, config),
        pixel_fields=pixel_fields(config),
        embeds_prompts=True,
        draws_labels=False,
        keeps_latents=False,
        cost=cost,
        renderer=renderer,
        text_encoder=lambda: _text_encoder(config),
        encoder=f"{weights} {config.dtype}",
        reads_negative=config.guided,
        wants_gpu=True,
        modes=frozenset({modes[pictures]}),
        memory=_memory(config, found.shape, size),
        fit=_fit(config, found.shape, size),
        tokens=PromptTokens(model.id, model.revision),
    )


_SECTIONS: dict[str, type[Strict]] = {
    "model": ModelSection,
    "windows": WindowsSection,
    "forcing": ForcingSection,
    "engine": EngineSection,
}


def _place(setting: str) -> str:
    """Where a profile has a setting of ForcingConfig, such as `forcing.steps`."""
    if setting == "window":
        return "windows.trained"
    found = (name for name, section in _SECTIONS.items() if setting in section.model_fields)
    section = next(found, None)
    return f"{section}.{setting}" if section else setting


def _refuse_forcing_settings(profile: Profile) -> None:
    """A full-sequence model would pass over these without a word. Raises ProfileError."""
    from storyflow.forcing.sequence.settings import FORCING_ONLY

    problems = []
    for path in sorted(map(_place, (FORCING_ONLY - {"fps"}) | {"overlap", "policy"})):
        section, _, name = path.partition(".")
        value = getattr(getattr(profile, section), name)
        if value != _SECTIONS[section].model_fields[name].default:
            what = "only diffusion forcing reads this, a full-sequence model has no use for it"
            problems.append(
                Problem("wrong-setting", what, path=path, value=value, cure="remove it")
            )
    if problems:
        raise ProfileError(problems)


def _config(profile: Profile, threads: int, **forced: Any) -> ForcingConfig:
    model, sampler, engine = profile.model, profile.forcing, profile.engine
    settings: dict[str, Any] = {
        "model": model.id,
        "revision": model.revision,
        "dtype": model.dtype,
        "window": profile.windows.trained,
        "overlap": profile.windows.overlap,
        "steps": sampler.steps,
        "guidance": sampler.guidance,
        "shift": sampler.shift,
        "sigmas": sampler.sigmas,
        "history": sampler.history,
        "history_noise": sampler.history_noise,
        "fps": profile.fps,
        "ar_step": sampler.ar_step,
        "block": sampler.block,
        "guidance_from": sampler.guidance_from,
        "guidance_to": sampler.guidance_to,
        "solver": sampler.solver,
        "solver_aliasing": sampler.solver_aliasing,
        "step_cache": sampler.step_cache,
        "vae_dtype": model.vae_dtype,
        "quantize": model.quantize,
        "loras": tuple(Lora(x.id, x.file, x.revision, x.scale) for x in model.loras),
        "causal": model.causal,
        "attention": engine.attention,
        "compile": engine.compile,
        "fuse_guidance": engine.fuse_guidance,
        "offload": engine.offload,
        "threads": threads,
    }
    config = ForcingConfig(**(settings | forced))
    forward_passes(config, config.window)  # refuses what can't be scheduled
    return config


def _identity(weights: str, config: ForcingConfig) -> str:
    """The model's weights and what LoRAs make of them."""
    from storyflow.forcing.weights.lorafiles import identities

    return "\n".join(text for text in (weights, identities(config)) if text)


def _memory(
    config: ForcingConfig, shape: TransformerShape, size: Size
) -> Callable[[int], tuple[CardFit, ...]]:
    def memory(window: int) -> tuple[CardFit, ...]:
        from storyflow.forcing.cost.memory import table

        return tuple(map(_card_fit, table(shape, window, size, config)))

    return memory


def _fit(
    config: ForcingConfig, shape: TransformerShape, size: Size
) -> Callable[[int, int], CardFit]:
    def one(window: int, usable: int) -> CardFit:
        from storyflow.forcing.cost.memory import GIB, Card, fit

        card = Card(f"{usable / GIB:.1f} GiB", usable)
        return _card_fit(fit(shape, window, size, config, card))

    return one


def _card_fit(found: Fit) -> CardFit:
    switches = found.switches
    told = None if switches is None else tuple(f"{k}={v}" for k, v in switches)
    return CardFit(found.card.name, told, found.memory.peak)


def _text_encoder(config: ForcingConfig) -> TextEncoder:
    from storyflow.forcing.text import UMT5TextEncoder

    return UMT5TextEncoder(config)
