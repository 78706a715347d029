"""The full-sequence models: bitwise against diffusers' stock pipelines, and what is refused.

Float32, tiny random weights, one process.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_sequences
import torch
from diffusers import SkyReelsV2ImageToVideoPipeline, SkyReelsV2Pipeline, UniPCMultistepScheduler
from forcing_support import SEED, InjectedNoise, embeddings, one_thread  # noqa: F401
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from tiny_sequences import Weights
from torch import Tensor
from transformers import BatchFeature, CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from storyflow.errors import ModelError, SegmentError
from storyflow.forcing.config import ForcingConfig, Lora
from storyflow.forcing.schedule import Spacing
from storyflow.forcing.sequence.clip import ImageEncoder, squeezed
from storyflow.forcing.sequence.lattice import SequenceLattice
from storyflow.forcing.sequence.loading import load_sequence
from storyflow.forcing.sequence.pictures import picture_condition
from storyflow.forcing.sequence.renderer import SequenceRenderer
from storyflow.forcing.sequence.segment import SequenceModel, sequence_latents
from storyflow.forcing.sequence.settings import NEUTRAL, pixel_fields
from storyflow.forcing.vae import StreamingVAE, to_floats
from storyflow.renderer import Given, History, SegmentSpec

# Stock takes pictures as tensors from -1 to 1, which is the only way to give it the very same ones.
pytestmark = pytest.mark.filterwarnings("ignore:Passing `image` as torch tensor:FutureWarning")

WIDTH, HEIGHT, WINDOW = tiny_models.WIDTH, tiny_models.HEIGHT, 9
PROMPT = np.random.default_rng(1).standard_normal((7, tiny_models.TEXT_DIM)).astype(np.float32)
NEGATIVE = np.random.default_rng(2).standard_normal((2, tiny_models.TEXT_DIM)).astype(np.float32)
SPEC = SegmentSpec(WIDTH, HEIGHT, WINDOW, overlap=0, seed=4)

Picture = NDArray[np.uint8]


def picture(seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


START, END = picture(5), picture(6)


def config(weights: Weights, **changes: Any) -> ForcingConfig:
    settings: dict[str, Any] = {"steps": 3, "guidance": 4.0, "shift": 5.0, "sigmas": "diffusers"}
    return ForcingConfig(
        model=str(tiny_sequences.folder(weights)),
        dtype="float32",
        window=WINDOW,
        **NEUTRAL,
        **(settings | changes),
    )


@functools.cache
def renderer(settings: ForcingConfig) -> SequenceRenderer:
    made = SequenceRenderer(settings)
    made.setup()
    return made


def model_of(settings: ForcingConfig) -> SequenceModel:
    model = renderer(settings)._model
    assert model is not None
    return model


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.chunks: list[Picture] = []
        self.steps: list[tuple[int, int]] = []

    def regained(self, chunk: Picture) -> None:
        raise AssertionError("a full-sequence segment has no history")

    def frames(self, chunk: Picture) -> None:
        self.chunks.append(chunk)

    def latents(self, chunk: NDArray[np.float32]) -> None:
        raise AssertionError("nothing continues a full-sequence segment")

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    @property
    def pixels(self) -> Picture:
        return np.concatenate(self.chunks)


def given(weights: Weights) -> Given:
    return Given(start=None if weights == "text" else START, end=END if weights == "ends" else None)


class ReferenceSpacing(UniPCMultistepScheduler):  # type: ignore[misc]
    """Stock's scheduler with the noise levels of SkyworkAI's own code."""

    def set_timesteps(self, steps: int, device: Any = None) -> None:
        super().set_timesteps(sigmas=np.linspace(0.999, 0, steps + 1)[:-1], device=device)


class WholePicture:
    """In the place of stock's image processor, which cuts a square out of the middle."""

    def __call__(self, images: Tensor | list[Tensor], return_tensors: str) -> BatchFeature:
        pictures = [START, END] if isinstance(images, list) else [START]
        return BatchFeature({"pixel_values": squeezed(pictures, 28)})


def stock_pipeline(weights: Weights, shift: float, sigmas: Spacing) -> Any:
    scheduler = (UniPCMultistepScheduler if sigmas == "diffusers" else ReferenceSpacing)(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    parts = {
        "tokenizer": None,
        "text_encoder": None,
        "transformer": tiny_sequences.transformer(weights),
        "vae": tiny_models.components().vae,
        "scheduler": scheduler,
    }
    if weights == "text":
        pipeline = SkyReelsV2Pipeline(**parts)
    else:
        pipeline = SkyReelsV2ImageToVideoPipeline(
            **parts,
            image_encoder=tiny_sequences.image_encoder(),
            image_processor=WholePicture(),
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock_latents(weights: Weights, settings: ForcingConfig) -> Tensor:
    prompt, negative = embeddings()
    pictures: dict[str, Tensor] = {}
    if weights != "text":
        pictures["image"] = to_floats(START[None])[:, :, 0]
    if weights == "ends":
        pictures["last_image"] = to_floats(END[None])[:, :, 0]
    frames: Tensor = stock_pipeline(weights, settings.shift, settings.sigmas)(
        prompt=None,
        prompt_embeds=prompt,
        negative_prompt_embeds=negative,
        height=HEIGHT,
        width=WIDTH,
        num_frames=WINDOW,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance,
        generator=torch.Generator().manual_seed(SEED),
        output_type="latent",
        **pictures,
    ).frames
    return frames


def our_latents(weights: Weights, settings: ForcingConfig) -> Tensor:
    texts = list(embeddings()) if settings.guided else list(embeddings()[:1])
    noise = InjectedNoise(torch.Generator().manual_seed(SEED))
    # The VAE as it comes: with the faster kernels for CPUs it is equal up to rounding only.
    model = dataclasses.replace(model_of(settings), vae=StreamingVAE(tiny_models.components().vae))
    return sequence_latents(model, settings, SPEC, texts, given(weights), noise, Kept())


PARITY = [
    (4.0, 5, 5.0),
    (1.0, 4, 8.0),
    (6.0, 1, 3.0),
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("sigmas", ["diffusers", "reference"])
@pytest.mark.parametrize(("guidance", "steps", "shift"), PARITY)
@pytest.mark.parametrize("weights", ["text", "image", "ends"])
def test_latents_equal_the_stock_pipelines(
    weights: Weights, guidance: float, steps: int, shift: float, sigmas: Spacing
) -> None:
    settings = config(weights, guidance=guidance, steps=steps, shift=shift, sigmas=sigmas)
    stock = stock_latents(weights, settings)
    ours = our_latents(weights, settings)
    assert ours.shape == stock.shape == (1, 16, 3, HEIGHT // 8, WIDTH // 8)
    assert torch.isfinite(ours).all()
    assert torch.equal(ours, stock)


def render(weights: Weights, spec: SegmentSpec = SPEC, **changes: Any) -> Kept:
    sink = Kept()
    renderer(config(weights, **changes)).render(spec, PROMPT, NEGATIVE, given(weights), sink)
    return sink


@pytest.mark.parametrize("window", [5, WINDOW])
@pytest.mark.parametrize("weights", ["text", "image", "ends"])
def test_a_shot_is_one_whole_window(weights: Weights, window: int) -> None:
    sink = render(weights, dataclasses.replace(SPEC, window=window))
    assert sink.pixels.shape == (window, HEIGHT, WIDTH, 3) and sink.pixels.dtype == np.uint8
    assert [len(chunk) for chunk in sink.chunks] == [1] + [4] * (window // 4)
    assert sink.steps == [(1, 3), (2, 3), (3, 3)]


def test_a_segment_follows_from_its_arguments_alone() -> None:
    first = render("image")
    torch.manual_seed(99)
    other = render("image", dataclasses.replace(SPEC, seed=5))
    assert np.array_equal(render("image").pixels, first.pixels)
    assert not np.array_equal(other.pixels, first.pixels)
    made = SequenceRenderer(config("image"))
    for _ in range(2):
        sink = Kept()
        made.render(SPEC, PROMPT, NEGATIVE, given("image"), sink)
        assert np.array_equal(sink.pixels, first.pixels)
        made.close()


CHANGES: list[tuple[Weights, Given]] = [
    ("image", Given(start=END)),
    ("ends", Given(start=END, end=END)),
    ("ends", Given(start=START, end=START)),
]


@pytest.mark.parametrize(("weights", "other"), CHANGES)
def test_every_picture_counts(weights: Weights, other: Given) -> None:
    sink = Kept()
    renderer(config(weights)).render(SPEC, PROMPT, NEGATIVE, other, sink)
    assert not np.array_equal(sink.pixels, render(weights).pixels)


def test_guidance_for_a_part_of_the_steps_lies_between() -> None:
    whole, part, none = (
        render("text", guidance=guidance, guidance_to=to).pixels
        for guidance, to in ((4.0, 1.0), (4.0, 0.5), (1.0, 1.0))
    )
    assert not np.array_equal(part, whole) and not np.array_equal(part, none)


def test_without_guidance_no_negative_prompt_is_read() -> None:
    sink = Kept()
    renderer(config("text", guidance=1.0)).render(SPEC, PROMPT, None, Given(), sink)
    assert np.array_equal(sink.pixels, render("text", guidance=1.0).pixels)


HISTORY = History(np.zeros((9, HEIGHT, WIDTH, 3), np.uint8))

REFUSED: list[tuple[Weights, SegmentSpec, Given, str]] = [
    ("text", SPEC, Given(start=START), "read no pictures; the segment has start.*T2V, I2V"),
    ("text", SPEC, Given(end=END), "read no pictures; the segment has end"),
    ("image", SPEC, Given(), "read a start picture and no other; the segment has none"),
    ("image", SPEC, Given(start=START, end=END), "no other; the segment has start and end"),
    ("ends", SPEC, Given(start=START), "a start and an end picture; the segment has start"),
    ("text", SPEC, Given(history=HISTORY), "continues nothing.*DF"),
    ("text", dataclasses.replace(SPEC, overlap=5), Given(), "continues nothing"),
    ("text", dataclasses.replace(SPEC, window=21), Given(), "longer than the 9"),
    ("text", dataclasses.replace(SPEC, window=8), Given(), "grid of 4k"),
    ("text", dataclasses.replace(SPEC, width=40), Given(), "does not divide by 16"),
    ("image", SPEC, Given(start=START[:16]), r"start picture is uint8 \[16, 48, 3\], expected"),
    ("image", SPEC, Given(start=START / 255), "start picture is float64"),
]


@pytest.mark.parametrize(("weights", "spec", "what", "message"), REFUSED)
def test_what_the_weights_can_not_render_is_refused(
    weights: Weights, spec: SegmentSpec, what: Given, message: str
) -> None:
    with pytest.raises(SegmentError, match=message) as refused:
        renderer(config(weights)).render(spec, PROMPT, NEGATIVE, what, Kept())
    assert refused.value.cure


@pytest.mark.parametrize(
    ("prompt", "negative", "message"),
    [
        (None, NEGATIVE, "no prompt"),
        (PROMPT, None, "no negative prompt"),
        (PROMPT[:, :3], NEGATIVE, r"\[7, 3\]"),
    ],
)
def test_prompts_are_checked(prompt: Any, negative: Any, message: str) -> None:
    with pytest.raises(SegmentError, match=message):
        renderer(config("text")).render(SPEC, prompt, negative, Given(), Kept())


def test_the_mask_says_which_frames_are_given() -> None:
    vae = StreamingVAE(tiny_models.components().vae)
    with torch.inference_mode():
        alone = picture_condition(vae, WINDOW, START)
        both = picture_condition(vae, WINDOW, START, END)
    assert alone.shape == both.shape == (1, 4 + 16, 3, HEIGHT // 8, WIDTH // 8)
    frames = [alone[0, :4, i].unique().tolist() for i in range(3)]
    assert frames == [[1.0], [0.0], [0.0]]
    assert both[0, :4, -1, 0, 0].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert torch.equal(alone[:, :, :-1], both[:, :, :-1])
    assert not torch.equal(alone[:, 4:, -1], both[:, 4:, -1])


def sides(width: int) -> tuple[Picture, Picture]:
    """A wide picture, and the same with other sides."""
    wide = np.random.default_rng(7).integers(0, 256, (28, width, 3), dtype=np.uint8)
    other = wide.copy()
    other[:, :8] = other[:, -8:] = 255
    return wide, other


def test_stock_shows_clip_only_the_middle_of_a_wide_picture() -> None:
    """Pinned: SkyworkAI's own code squeezes the whole picture into CLIP's square, and so do we."""
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    pictures = sides(width=64)
    one, two = (processor(Image.fromarray(p), return_tensors="pt").pixel_values for p in pictures)
    assert torch.equal(one, two)
    assert not torch.equal(*(squeezed([p], 28) for p in pictures))


def test_pictures_are_squeezed_and_scaled_as_clip_was_trained() -> None:
    even = np.full((30, 50, 3), (255, 0, 51), np.uint8)
    pixels = squeezed([even, even], 28)
    assert pixels.shape == (2, 3, 28, 28)
    wanted = [
        (1 - 0.48145466) / 0.26862954,
        -0.4578275 / 0.26130258,
        (0.2 - 0.40821073) / 0.27577711,
    ]
    assert pixels[0, :, 3, 4].tolist() == pytest.approx(wanted, abs=1e-5)


def test_stock_can_not_take_a_last_image_with_the_released_weights() -> None:
    """Pinned: two pictures' embeddings don't fit one prompt. Such a shot is refused beforehand."""
    pipeline = stock_pipeline("image", 5.0, "diffusers")
    pictures = {
        name: to_floats(p[None])[:, :, 0] for name, p in (("image", START), ("last_image", END))
    }
    prompt, negative = embeddings()
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        pipeline(
            prompt_embeds=prompt,
            negative_prompt_embeds=negative,
            height=HEIGHT,
            width=WIDTH,
            num_frames=5,
            num_inference_steps=1,
            output_type="latent",
            **pictures,
        )


def test_stock_can_not_take_an_embedding_of_the_picture() -> None:
    """Pinned: `image_embeds` beside `image` is refused, and without `image` there is no video."""
    pipeline = stock_pipeline("image", 5.0, "diffusers")
    prompt, _ = embeddings()
    seen = torch.zeros(1, tiny_sequences.IMAGE_TOKENS, tiny_sequences.IMAGE_DIM)
    size = {"height": HEIGHT, "width": WIDTH, "num_frames": 5, "guidance_scale": 1.0}
    image = to_floats(START[None])[:, :, 0]
    with pytest.raises(ValueError, match="Cannot forward both `image`"):
        pipeline(image, prompt_embeds=prompt, image_embeds=seen, **size)
    with pytest.raises(ValueError):
        pipeline(None, prompt_embeds=prompt, image_embeds=seen, **size)


@pytest.mark.parametrize("window", [5, 17, 97, 121])
def test_the_lattice_has_one_window_and_no_history(window: int) -> None:
    lattice = SequenceLattice(window)
    lengths = lattice.new_frames(fresh=True)
    assert (lengths[0], lengths[-1], lattice.grid, lattice.overlap) == (5, window, 4, 0)
    assert not lattice.new_frames(fresh=False)


@pytest.mark.parametrize(("window", "message"), [(1, "is a picture"), (96, "93 or 97"), (0, "4k")])
def test_a_window_off_the_lattice_is_refused(window: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceLattice(window)


def test_keys_hold_exactly_what_changes_pixels() -> None:
    assert dict(pixel_fields(config("text"))) == {
        "dtype": "float32",
        "steps": 3,
        "guidance": 4.0,
        "shift": 5.0,
        "sigmas": "diffusers",
    }
    changed = config("text", guidance_to=0.5, quantize="int8", vae_dtype="bfloat16")
    names = {name for name, _ in pixel_fields(changed)} - {
        n for n, _ in pixel_fields(config("text"))
    }
    assert names == {"guidance_to", "quantize", "vae_dtype"}


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def without_projection(folder: Path) -> None:
    shutil.rmtree(folder / "image_encoder")
    tiny_sequences.image_encoder(projects=False).save_pretrained(folder / "image_encoder")


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_clip_loads_with_and_without_what_nobody_reads(tmp_path: Path, prefix: str) -> None:
    folder = tiny_sequences.copy_folder(tmp_path / "model", "image")
    without_projection(folder)
    weights = folder / "image_encoder" / "model.safetensors"
    tensors = tiny_sequences.image_encoder().vision_model.state_dict()
    save_file({prefix + name: x.clone() for name, x in tensors.items()}, weights)
    settings = dataclasses.replace(config("image"), model=str(folder))
    encoders = (load_sequence(s).image_encoder for s in (settings, config("image")))
    ours, other = (encoder.encode([START]) for encoder in encoders if encoder is not None)
    assert torch.equal(ours, other)


def test_clip_visits_the_device_for_each_call_where_it_lives_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_sequences.image_encoder().vision_model
    moves: list[torch.device] = []
    monkeypatch.setattr(model, "to", moves.append)
    here, there = torch.device("cpu"), torch.device("cpu", 0)
    with torch.inference_mode():
        seen = ImageEncoder(model, there).encode([START, END])
    assert seen.shape == (2, tiny_sequences.IMAGE_TOKENS, tiny_sequences.IMAGE_DIM)
    assert moves == [there, here]


DAMAGE: dict[str, tuple[Weights, Callable[[Path], object], str]] = {
    "no image encoder": (
        "image",
        lambda f: shutil.rmtree(f / "image_encoder"),
        "has no image_encoder folder; it holds",
    ),
    "another image encoder": (
        "image",
        lambda f: edit_json(f / "image_encoder/config.json", architectures=["SiglipVisionModel"]),
        "describes a SiglipVisionModel, expected CLIPVisionModelWithProjection or CLIPVisionModel",
    ),
    "image encoder of another width": (
        "image",
        lambda f: CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=28,
                patch_size=14,
            )
        ).save_pretrained(f / "image_encoder"),
        "in 32 numbers a patch, the transformer reads 16",
    ),
    "image encoder with fewer layers": (
        "image",
        lambda f: edit_json(f / "image_encoder/config.json", num_hidden_layers=4),
        "tensors are missing, the first is vision_model.encoder.layers.3",
    ),
    "image encoder with more layers": (
        "image",
        lambda f: edit_json(f / "image_encoder/config.json", num_hidden_layers=2),
        "has no place for 16 tensors such as vision_model.encoder.layers.2",
    ),
    "truncated image encoder": (
        "image",
        lambda f: (f / "image_encoder/model.safetensors").write_bytes(b"x" * 30),
        "truncated or not a safetensors",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_folder_is_refused(kind: str, tmp_path: Path) -> None:
    weights, damage, message = DAMAGE[kind]
    folder = tiny_sequences.copy_folder(tmp_path / "model", weights)
    damage(folder)
    with pytest.raises(ModelError, match=message) as refused:
        load_sequence(dataclasses.replace(config(weights), model=str(folder)))
    assert refused.value.cure


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for weights in ("text", "image"):
        tiny_sequences.folder(weights)
        capfd.readouterr()
        load_sequence(config(weights))
        assert capfd.readouterr() == ("", "")


SWITCHES: list[tuple[dict[str, Any], str]] = [
    ({"fuse_guidance": True}, "rounding"),
    ({"offload": "blocks"}, "bitwise"),
    ({"quantize": "int8"}, "lossy"),
    ({"quantize": "fp8"}, "lossy"),
    ({"vae_dtype": "bfloat16"}, "lossy"),
    ({"solver": "consistency"}, "lossy"),
    ({"steps": 8, "step_cache": 0.5}, "lossy"),
]


@pytest.mark.parametrize(("changes", "kind"), SWITCHES, ids=[str(row[0]) for row in SWITCHES])
def test_switches_work_as_with_diffusion_forcing(changes: dict[str, Any], kind: str) -> None:
    weights: Weights = "text" if "step_cache" in changes else "image"
    plain = render(weights, steps=changes.get("steps", 3)).pixels.astype(int)
    made = render(weights, **changes).pixels.astype(int)
    furthest = int(np.abs(made - plain).max())
    assert {"bitwise": furthest == 0, "rounding": furthest <= 1, "lossy": furthest > 0}[kind]


def test_a_lora_changes_the_picture(tmp_path: Path) -> None:
    rank, width = 2, 24
    generator = torch.Generator().manual_seed(3)
    name = "blocks.0.attn2.add_k_proj"  # only image-to-video weights have it
    matrices = {
        f"transformer.{name}.lora_A.weight": torch.randn(rank, width, generator=generator),
        f"transformer.{name}.lora_B.weight": torch.randn(width, rank, generator=generator),
    }
    save_file(matrices, tmp_path / "style.safetensors")
    lora = Lora(str(tmp_path / "style.safetensors"))
    assert not np.array_equal(render("image", loras=(lora,)).pixels, render("image").pixels)
    with pytest.raises(ModelError, match="has no place in the model"):
        load_sequence(config("text", loras=(lora,)))
