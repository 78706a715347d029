"""Real vLLM with tiny random models, through the real actors on Ray and through its own server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from dying import MARK, DyingVllm

from storyflow.cluster import Cluster, load_cluster
from storyflow.farm.language import language_model, running
from storyflow.farm.ray_language import RayModel
from storyflow.prompts.asking import Manner, read_caption
from storyflow.prompts.caption import ShotCaption, to_json
from storyflow.prompts.captioner import caption_clips
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.enhance import enhance
from storyflow.prompts.fuse import Form, fuse
from storyflow.prompts.instructions import instructions
from storyflow.prompts.model import Answer, Clip, LanguageModel, Question, Refusal
from storyflow.prompts.schema import caption_schema
from storyflow.storyboard.load import parse
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedFilm

TOKENS = 3000
"""Enough for the longest caption of a model whose tokens are letters, most often."""


@pytest.fixture(scope="module")
def film() -> ResolvedFilm:
    """Two scenes, a shot of several beats, a continuation."""
    beats = [{"dur": "2s", "do": text} for text in ("he sets the lamp down", "he wipes the lens")]
    data: dict[str, Any] = {
        "film": "The Keeper",
        "cast": {"keeper": "man of sixty, navy coat", "girl": "girl of ten"},
        "scenes": [
            {
                "scene": "INT. LIGHTHOUSE - NIGHT",
                "light": "warm lamp light",
                "shots": [
                    {"id": "1A", "size": "LS", "do": "@keeper climbs"},
                    {"id": "1B", "size": "ECU", "do": "the flame shudders"},
                    {"id": "1C", "who": ["keeper"], "beats": beats},
                ],
            },
            {
                "scene": "EXT. CLIFF - STORM",
                "shots": [
                    {"id": "2A", "move": "crane up", "do": "waves break"},
                    {"id": "2B", "from": "prev", "do": "the camera finds @girl"},
                ],
            },
        ],
    }
    return resolve(parse(data))


def settings(folder: Path) -> EngineSettings:
    return EngineSettings("vllm", str(folder), dtype="float32", max_model_len=8192)


def cluster() -> Cluster:
    return load_cluster("local", ("address=auto",))


def valid(caption: ShotCaption) -> None:
    jsonschema.validate(json.loads(to_json(caption)), json.loads(caption_schema()))


def whole_storyboard(model: LanguageModel, film: ResolvedFilm) -> None:
    """Every beat gets a valid caption, and is asked for prose."""
    manner = Manner(instructions("enhancer"), max_tokens=TOKENS)
    made = enhance(film, model, manner)
    assert made.problems == ()
    assert list(made.captions) == [
        ("1A", 0), ("1B", 0), ("1C", 0), ("1C", 1), ("2A", 0), ("2B", 0),
    ]  # fmt: skip
    for caption in made.captions.values():
        valid(caption)
    prose = Manner(instructions("fuser-text"), max_tokens=40)
    forms: dict[Any, Form] = dict.fromkeys(made.captions, "text")
    texts, troubles = fuse(made.captions, forms, model, {"text": prose, "image": prose})
    assert set(texts) | set(troubles) == set(made.captions)


def clips() -> list[Clip]:
    """A picture, a short clip and one of sixteen frames, of different shapes and rates."""
    draw = np.random.default_rng(1)
    shapes = ((1, 84, 56), (6, 56, 84), (16, 84, 112))
    rates = (Fraction(0), Fraction(24), Fraction(15, 4))
    return [
        Clip(
            draw.integers(0, 256, (*shape, 3)).astype(np.uint8),
            rate,
            len(range(shape[0])) / rate if rate else Fraction(0),
        )
        for shape, rate in zip(shapes, rates, strict=True)
    ]


def pictures_and_clips(model: LanguageModel) -> None:
    """Each is described by a valid caption."""
    manner = Manner(instructions("captioner"), max_tokens=TOKENS)
    for caption in caption_clips(clips(), model, manner):
        assert isinstance(caption, ShotCaption), caption
        valid(caption)


def too_much(model: LanguageModel) -> None:
    """A question that doesn't fit costs itself alone."""
    long, short = model.ask(
        [Question("s", "word " * 20_000, max_tokens=8), Question("s", "short", max_tokens=8)]
    )
    assert isinstance(long, Refusal) and isinstance(short, Answer)


def lives(pid: int) -> bool:
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.fixture
def freed(ray: Any) -> Iterator[None]:
    """Afterwards nothing is held on Ray."""
    import time

    yield
    end = time.monotonic() + 120
    while ray.available_resources().get("CPU") != 2.0 and time.monotonic() < end:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 2.0


def test_an_engine_killed_in_the_middle_of_a_storyboard_finishes_it(
    ray: Any, freed: None, text: Path, film: ResolvedFilm
) -> None:
    told: list[str] = []
    model = RayModel(settings(text), cluster(), told.append, make=DyingVllm)
    with running(model):
        questions = [
            Question("s", f"shot {n}", caption_schema(), max_tokens=TOKENS) for n in range(12)
        ]
        said = model.ask(questions)
        for each in said:
            assert isinstance(each, Answer)
            valid(read_caption(each))
        assert model.starts == 2
        # A slow machine is told about, too, while the engine waits for its place.
        again = re.findall(r"died .* it is asked (\d+) questions again", "\n".join(told))
        # The last answers before the death may have been lost on their way.
        assert len(again) == 1 and 9 <= int(again[0]) <= 12
        whole_storyboard(model, film)
        too_much(model)
        assert model.starts == 2, "one start serves the whole film"
        assert model.ask(questions[:2]) == said[:2], "the same words for the same question"
        household = model.household
    first = int((text / MARK).read_text())
    assert household is not None
    for pid in (first, *(each.pid for each in household.processes)):
        assert not lives(pid), pid


def test_a_captioner_reads_pictures_and_clips(
    ray: Any, freed: None, vision: Path, film: ResolvedFilm
) -> None:
    with running(language_model(settings(vision), cluster())) as model:
        pictures_and_clips(model)
        whole_storyboard(model, film)


@pytest.mark.parametrize("guidance", ["response_format", "vllm"])
def test_vllms_own_server_passes_the_same(server: str, film: ResolvedFilm, guidance: Any) -> None:
    asked = EngineSettings("openai", url=server, guidance=guidance, timeout=600)
    with running(language_model(asked, cluster())) as model:
        assert model.name == "tiny"
        pictures_and_clips(model)
        whole_storyboard(model, film)
        too_much(model)
