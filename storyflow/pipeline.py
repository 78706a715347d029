"""Pipeline profiles: *how* a film is rendered. One YAML file each, in `pipelines/`.

    profile = load_profile("toybox", overrides=("forcing.steps=20",))

A name is looked up among the shipped profiles; a path names any other file.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from storyflow.documents import Strict
from storyflow.prompts.settings import PromptsSection
from storyflow.settings import find_named, load_settings
from storyflow.timing import Duration, Size, parse_duration, parse_rate, parse_size

Rate = Annotated[
    Fraction, BeforeValidator(parse_rate), PlainSerializer(str), Field(json_schema_extra={})
]
FrameSize = Annotated[Size, BeforeValidator(parse_size), PlainSerializer(str)]


def _even(value: object) -> Size:
    size = parse_size(value)
    if size.width % 2 or size.height % 2:
        raise ValueError("a film's sides are even numbers: 1280x720")
    return size


EvenSize = Annotated[Size, BeforeValidator(_even), PlainSerializer(str)]


class LoraSection(Strict):
    """One LoRA on top of the model's transformer."""

    id: str = Field(
        min_length=1, description="Hub id, local folder or .safetensors file (a path with a slash)."
    )
    file: str | None = Field(
        default=None, description="The weight file, where the folder or hub id holds several."
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch of a hub id.")
    scale: float = Field(default=1.0, ge=-4.0, le=4.0, description="How strongly it is applied.")


class ModelSection(Strict):
    """Which model. All of it changes pixels."""

    kind: Literal["skyreels-v2-df", "skyreels-v2", "slate"] = Field(
        description="The kind of model: SkyReels-V2 diffusion forcing, SkyReels-V2 full sequence "
        "(one window per shot), or the slate that draws."
    )
    id: str = Field(
        default="",
        description="Hub id or local Diffusers folder (a path with a slash, relative to the "
        "current folder); `toybox` is the embedded model. Ignored by slate.",
    )
    revision: str | None = Field(
        default=None, description="Commit, tag or branch of a hub id; enters every key."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="bfloat16", description="Numbers that the transformer computes with."
    )
    vae_dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Numbers that the VAE computes with."
    )
    quantize: Literal["none", "int8", "fp8"] = Field(
        default="none", description="How the transformer's large weights are kept; lossy."
    )
    loras: tuple[LoraSection, ...] = Field(
        default=(), max_length=8, description="LoRAs, added up in this order."
    )
    causal: bool = Field(
        default=False,
        description="The weights were trained for block-causal attention. No released ones were.",
    )


class WindowsSection(Strict):
    """How shots are divided into segments."""

    trained: int = Field(
        default=97, ge=5, le=1001, description="Frames that the model was trained on at once."
    )
    overlap: int = Field(
        default=17, ge=1, le=500, description="History frames that a continuing segment reads."
    )
    floor: int = Field(
        default=33, ge=5, description="No segment's window is made shorter than this by choice."
    )
    policy: Literal["full", "balanced"] = Field(
        default="full",
        description="full: the trained length wherever a beat allows; balanced: equal windows "
        "between floor and trained length that cost the least compute.",
    )


class ForcingSection(Strict):
    """Sampler settings of diffusion forcing. All of them change pixels."""

    steps: int = Field(default=30, ge=1, le=120, description="Solver steps per segment.")
    guidance: float = Field(
        default=6.0, ge=1.0, le=30.0, description="Classifier-free guidance; 1 turns it off."
    )
    shift: float = Field(
        default=8.0, gt=0.0, le=50.0, description="Timestep shift: larger spends steps on layout."
    )
    sigmas: Literal["reference", "diffusers"] = Field(
        default="reference",
        description="Noise levels as in the reference code, or as diffusers spaces them.",
    )
    history: Literal["pixels", "latents"] = Field(
        default="pixels",
        description="pixels: decode the last frames and encode them again, the reference's way; "
        "latents: keep the last latents, diffusers' way.",
    )
    history_noise: int = Field(
        default=20,
        ge=0,
        le=60,
        description="Noise mixed into the history, in thousandths; smooths seams. 0 is none.",
    )
    ar_step: int = Field(
        default=0,
        ge=0,
        le=120,
        description="Asynchronous schedule: steps by which each block lags behind the one before "
        "it. 0 is synchronous.",
    )
    block: int = Field(
        default=1, ge=1, le=64, description="Latent frames per block of an asynchronous schedule."
    )
    guidance_from: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Guidance begins at this part of the steps."
    )
    guidance_to: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Guidance ends at this part of the steps."
    )
    solver: Literal["unipc", "consistency"] = Field(
        default="unipc",
        description="unipc for the released weights; consistency for step-distilled ones: every "
        "step predicts the end and adds fresh noise.",
    )
    solver_aliasing: bool = Field(
        default=False, description="Repeat an error of both reference codes; for comparisons."
    )
    step_cache: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Skip steps whose time embedding has changed by less than this; lossy. "
        "0 is off.",
    )


class EngineSection(Strict):
    """How the same picture is computed: last bits at most, never in a key."""

    attention: Literal["auto", "native", "cudnn", "flash", "flash-3"] = Field(
        default="auto", description="The attention kernel; auto is the best that the device has."
    )
    compile: bool = Field(default=False, description="Compile the transformer's blocks.")
    fuse_guidance: bool = Field(
        default=False, description="Both passes of guidance in one batch: faster, more memory."
    )
    offload: Literal["none", "blocks"] = Field(
        default="none",
        description="blocks: keep the transformer's blocks in main memory and fetch each ahead "
        "of its turn.",
    )


class SlateSection(Strict):
    """Scripts for the slate: what to pretend. None of them changes pixels."""

    delay: float = Field(
        default=0.0, ge=0.0, le=3600.0, description="Seconds that each segment takes."
    )
    steps: int = Field(default=4, ge=1, le=1000, description="Progress steps per segment.")
    fail: dict[str, int] = Field(
        default_factory=dict,
        description="Segment name (`1C/2`) to the number of attempts that fail; -1 is always.",
    )
    die: dict[str, int] = Field(
        default_factory=dict,
        description="Segment name to the number of attempts in which the worker process dies.",
    )


Format = Literal["h265", "prores", "dnxhr", "ffv1", "hls"]
"""What a film can be delivered in besides film.mp4."""

START = "01:00:00:00"
"""Films begin at hour one, as editors expect: what lies before it has room for leaders."""

PosterTime = Annotated[Duration, BeforeValidator(parse_duration), PlainSerializer(str)]


class DeliverSection(Strict):
    """The delivered film. Never in a segment's key."""

    colour_match: Literal["none", "seams", "first"] = Field(
        default="none",
        description="Bring each segment's pictures to the colours of the one before: seams lets go "
        "of that until the segment's end, first holds on to it all through the shot.",
    )
    crf: int = Field(default=18, ge=0, le=51, description="x264 quality; smaller is better.")
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = Field(
        default="medium", description="x264 and x265 effort."
    )
    scale: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Whole-number enlargement, pixel for pixel, where no `size` is named.",
    )
    size: EvenSize | None = Field(
        default=None, description="Picture size of the film, WIDTHxHEIGHT, even numbers."
    )
    fit: Literal["letterbox", "crop", "stretch"] = Field(
        default="letterbox",
        description="How a picture of another shape comes to `size`: between black bars, filling "
        "it and losing what stands over, or out of shape.",
    )
    filter: Literal["lanczos", "nearest"] = Field(
        default="lanczos",
        description="How it is resampled to `size`; nearest enlarges by whole numbers only.",
    )
    formats: tuple[Format, ...] = Field(
        default=(),
        description="What else to write beside film.mp4 (H.264): h265, prores (422 HQ), dnxhr "
        "(HQ), ffv1 (lossless), hls (a folder).",
    )
    timecode: str = Field(
        default=START,
        pattern=r"^[0-2]\d:[0-5]\d:[0-5]\d:\d\d$",
        description="Timecode of the first frame, HH:MM:SS:FF.",
    )
    preview: bool = Field(
        default=False,
        description="Write film.preview.mp4 in place of the film: small, and joined from shots "
        "that were encoded for it before, so that it is there at once.",
    )
    poster: PosterTime | None = Field(
        default=None,
        description="Time in the film of the picture in film.jpg. Without: the middle of the "
        "first shot.",
    )
    report: bool = Field(
        default=True, description="Write report.html and the contact sheet after each cut."
    )


class Profile(Strict):
    """A pipeline profile."""

    storyflow: Literal[1] = Field(default=1, description="Format version.")
    about: str = Field(default="", description="One line for people.")
    model: ModelSection
    frame: FrameSize = Field(description="Picture size, WIDTHxHEIGHT; multiples of 16.")
    fps: Rate = Field(default=Fraction(24), description="Frames per second of the model.")
    negative: str = Field(
        default="", description="What the picture must not show; `default` is storyflow's own."
    )
    prompts: PromptsSection = PromptsSection()
    windows: WindowsSection = WindowsSection()
    forcing: ForcingSection = ForcingSection()
    engine: EngineSection = EngineSection()
    slate: SlateSection = SlateSection()
    deliver: DeliverSection = DeliverSection()


def load_profile(name: str | Path, overrides: Sequence[str] = ()) -> tuple[str, Profile]:
    """The profile's name and its checked settings. `overrides` are `section.field=value` texts.

    Raises ProfileError: unknown name, broken file, unknown field or value out of range.
    """
    path = find_named(name, "pipelines", "pipeline")
    return path.stem, load_settings(Profile, path, overrides)
