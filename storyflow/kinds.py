"""The kinds of models that a profile can name; nothing here loads a model or imports torch.

`pixel_fields` of a kind are exactly the profile's fields that change pixels, so they and nothing
else of the profile enter a segment's key (frame size and window stand there as well).
"""

from __future__ import annotations

from storyflow.errors import Problem, ProfileError
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.lattice import ForcingLattice, flops
from storyflow.pipeline import Profile
from storyflow.renderer import Cost, ModelKind, Renderer, TextEncoder


def kind_of(profile: Profile, *, threads: int = 1) -> ModelKind:
    """The model kind of a profile. `threads` are a worker's CPU threads.

    Raises ProfileError for settings that can't work together, ModelError where no model is found.
    """
    try:
        kind = _slate(profile) if profile.model.kind == "slate" else _forcing(profile, threads)
    except ValueError as error:
        raise ProfileError([Problem("wrong-setting", str(error), path="windows")]) from None
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

    return ModelKind(
        name="slate",
        lattice=ForcingLattice(window=profile.windows.trained, overlap=profile.windows.overlap),
        identity="slate",
        pixel_fields=(("fps", str(profile.fps)),),
        embeds_prompts=False,
        draws_labels=True,
        keeps_latents=False,
        cost=lambda window: Cost(flops=0.0),
        renderer=renderer,
        text_encoder=None,
    )


def _forcing(profile: Profile, threads: int) -> ModelKind:
    from storyflow.forcing.identity import identity
    from storyflow.forcing.source import locate, transformer_shape

    model, sampler, engine = profile.model, profile.forcing, profile.engine
    config = ForcingConfig(
        model=model.id,
        revision=model.revision,
        dtype=model.dtype,
        window=profile.windows.trained,
        overlap=profile.windows.overlap,
        steps=sampler.steps,
        guidance=sampler.guidance,
        shift=sampler.shift,
        sigmas=sampler.sigmas,
        history=sampler.history,
        history_noise=sampler.history_noise,
        fps=profile.fps,
        ar_step=sampler.ar_step,
        block=sampler.block,
        guidance_from=sampler.guidance_from,
        guidance_to=sampler.guidance_to,
        solver=sampler.solver,
        solver_aliasing=sampler.solver_aliasing,
        step_cache=sampler.step_cache,
        vae_dtype=model.vae_dtype,
        quantize=model.quantize,
        loras=tuple(Lora(x.id, x.file, x.revision, x.scale) for x in model.loras),
        causal=model.causal,
        attention=engine.attention,
        compile=engine.compile,
        fuse_guidance=engine.fuse_guidance,
        offload=engine.offload,
        threads=threads,
    )
    source = locate(model.id, model.revision)
    weights = identity(model.id, model.revision)
    shape = transformer_shape(model.id, model.revision)
    size = profile.frame

    def renderer() -> Renderer:
        from storyflow.forcing.renderer import ForcingRenderer

        return ForcingRenderer(config)

    def text_encoder() -> TextEncoder:
        from storyflow.forcing.text import UMT5TextEncoder

        return UMT5TextEncoder(config)

    def cost(window: int) -> Cost:
        passes = (shape, config.steps, config.guidance)
        return Cost(flops=flops(window, size.width, size.height, *passes))

    return ModelKind(
        name="skyreels-v2-df",
        lattice=config.lattice,
        identity=weights,
        pixel_fields=config.pixel_fields(),
        embeds_prompts=True,
        draws_labels=False,
        keeps_latents=True,
        cost=cost,
        renderer=renderer,
        text_encoder=text_encoder,
        notice=RANDOM_WEIGHTS if source.random else None,
        encoder=f"{weights} {config.dtype}",
        reads_negative=config.guided,
        wants_gpu=model.id != "toybox",
    )


RANDOM_WEIGHTS = "toybox has no trained weights yet: it renders with random ones, so expect noise"
