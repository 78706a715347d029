"""Keys of every kind of node, pinned: a change here makes every store worthless.

The fields that a profile puts into keys are pinned as they are for settings spelled out here, so a
shipped profile may change its defaults. A new setting must keep the keys of those who don't use it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from storyflow.kinds import kind_of
from storyflow.pipeline import LoraSection, Profile, load_profile
from storyflow.planning import keys
from storyflow.planning.keys import media_key, prompt_key, segment_key
from storyflow.planning.nodes import Condition, SegmentInputs
from storyflow.renderer import ModelKind, SegmentSpec
from storyflow.timing import Size

SPEC = SegmentSpec(width=960, height=544, window=97, overlap=17, seed=7)
SAMPLER = (
    "model.dtype=bfloat16",
    "forcing.steps=30",
    "forcing.guidance=6",
    "forcing.shift=8",
    "forcing.sigmas=reference",
)
FORCING = (*SAMPLER, "forcing.history=pixels", "forcing.history_noise=20")

KINDS = {
    "slate": ("slate", ()),
    "forcing": ("skyreels-v2-df-1.3b-540p", ("model.revision=abc", *FORCING)),
    "forcing, every setting": (
        "skyreels-v2-df-1.3b-540p",
        (
            "model.revision=abc",
            *FORCING,
            "forcing.history=latents",
            "forcing.ar_step=5",
            "forcing.block=5",
            "forcing.guidance_from=0.1",
            "forcing.guidance_to=0.9",
            "forcing.solver_aliasing=true",
            "model.vae_dtype=bfloat16",
            "model.quantize=int8",
        ),
    ),
    "forcing, step cache": (
        "skyreels-v2-df-1.3b-540p",
        ("model.revision=abc", *FORCING, "forcing.step_cache=0.1"),
    ),
    "forcing, consistency": (
        "skyreels-v2-df-1.3b-540p",
        ("model.revision=abc", *FORCING, "forcing.solver=consistency", "forcing.guidance=1"),
    ),
    "full sequence": ("skyreels-v2-t2v-14b-540p", ("model.revision=abc", *SAMPLER)),
}

GOLDEN = {
    "slate": "aba797e5692465dc0f0dbc3faf9950c8e489faf0cbda6ed3996bc1da87e3fa7c",
    "forcing": "6750a0ac46f4d76f10e637752a0712b477fb16a435af0d8ea13f0362c32a4110",
    "forcing, every setting": "932b679d1b55a0b8c79d9536f618215e28cec551633b3b297c92976b65cd2136",
    "forcing, step cache": "ac547d4a7322e28fbc21c0858746abfd015e2c674e6d6179020d1fbe723d38ed",
    "forcing, consistency": "de9905b9018eb38192fa6f189fa1fb0d1139daf0125e7bb7d0a347a061b5d785",
    "full sequence": "c07bebbfb86126301a529e68960c75b03a875a3ed791f7e9c79cc55945520ca9",
}


def kind(name: str) -> ModelKind:
    shipped, overrides = KINDS[name]
    return kind_of(load_profile(shipped, overrides)[1])


def key_of(name: str) -> str:
    """The key of one segment of this kind that has everything a segment can have."""
    made = kind(name)
    inputs = SegmentInputs(
        model=made.identity,
        pixel_fields=made.pixel_fields,
        prompt="A swan crosses the lake.",
        negative="text",
        spec=replace(SPEC, label="1C\nbeat 1\na swan\n0" if made.draws_labels else ""),
        conditions=(Condition("end", "e" * 64, "pad"),),
    )
    digests = ("p" * 64, "n" * 64) if made.embeds_prompts else (None, None)
    return segment_key(inputs, "h" * 64, *digests)


def test_the_pixel_version_is_the_first() -> None:
    """Raise it, and pin anew, only when golden pixels change: an upgrade must not void a season."""
    assert keys.PIXEL_VERSION == 1


@pytest.mark.parametrize("name", KINDS)
def test_golden_segment_keys(name: str) -> None:
    assert key_of(name) == GOLDEN[name]


ENGINE = (
    "engine.compile=true",
    "engine.fuse_guidance=true",
    "engine.offload=blocks",
    "engine.attention=native",
    "windows.policy=balanced",
    "windows.floor=57",
    "deliver.crf=30",
    "deliver.scale=2",
    "about=other",
)


@pytest.mark.parametrize("override", ENGINE)
def test_how_a_picture_is_computed_and_delivered_is_in_no_key(override: str) -> None:
    shipped, overrides = KINDS["forcing"]
    before, after = (
        kind_of(load_profile(shipped, (*overrides, *more))[1]) for more in ((), (override,))
    )
    assert (before.identity, before.pixel_fields) == (after.identity, after.pixel_fields)


def test_every_setting_that_changes_pixels_changes_the_key() -> None:
    found = [key_of(name) for name in KINDS]
    assert len(set(found)) == len(found)


def with_loras(*loras: LoraSection) -> ModelKind:
    profile = load_profile(*KINDS["forcing"])[1]
    model = profile.model.model_copy(update={"loras": loras})
    return kind_of(Profile.model_validate(profile.model_copy(update={"model": model})))


def test_loras_are_part_of_the_model() -> None:
    one = LoraSection(id="someone/lora", revision="abc")
    identities = {
        with_loras(*loras).identity
        for loras in (
            (),
            (one,),
            (one.model_copy(update={"scale": 0.5}),),
            (one.model_copy(update={"revision": "def"}),),
            (one.model_copy(update={"file": "other.safetensors"}),),
            (one, one),
        )
    }
    assert len(identities) == 6
    assert with_loras(one).identity == (
        "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers@abc\nlora someone/lora/*@abc x 1.0"
    )


PICTURE = Condition("start", "d" * 64)
CLIP = Condition("clip", "d" * 64, "pad")
SIZE = Size(960, 544)


def test_golden_keys_of_prompts_and_media() -> None:
    rate = Fraction(24)
    assert {
        "prompt": prompt_key("Skywork/SkyReels@abc bfloat16", "A swan crosses the lake."),
        "picture": media_key(PICTURE, SIZE, 1, rate),
        "clip": media_key(CLIP, SIZE, 17, rate),
    } == {
        "prompt": "165e5de67f0d8314969daf99899d67730f89bbeec7f73dd96b44d5bb2c8f82cf",
        "picture": "a9eb453206c0eb9b5c85d48b77fa75bebd9b934a598f7b26eac70640ec48c802",
        "clip": "1afacdfddd6b795606ef50befe6b4f59e85e81ce1c2a5da6dfb6f9b3adc97f3f",
    }


def test_a_picture_is_the_same_at_any_rate_and_place_and_a_clip_is_not() -> None:
    rate, other = Fraction(24), Fraction(25)
    end = replace(PICTURE, role="end")
    assert media_key(PICTURE, SIZE, 1, rate) == media_key(end, SIZE, 1, other)
    found = {
        media_key(CLIP, SIZE, 17, rate),
        media_key(CLIP, SIZE, 17, other),
        media_key(CLIP, SIZE, 13, rate),
        media_key(replace(CLIP, fit="crop"), SIZE, 17, rate),
        media_key(replace(CLIP, digest="e" * 64), SIZE, 17, rate),
        media_key(CLIP, Size(544, 960), 17, rate),
        media_key(PICTURE, SIZE, 1, rate),
    }
    assert len(found) == 7
