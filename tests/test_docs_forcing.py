"""What docs/forcing.md says is true: its snippet runs and its table is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from storyflow.forcing.config import ForcingConfig
from storyflow.forcing.cost.memory import table
from storyflow.forcing.weights.family import RELEASED
from storyflow.pipeline import EngineSection, ForcingSection
from storyflow.timing import Size

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "forcing.md").read_text(encoding="utf-8")


def memory_table() -> list[str]:
    """A line for every released checkpoint: peak in GB and what to change on which card."""
    lines = []
    for name, (_, shape) in RELEASED.items():
        large = "720P" in name
        size, window = (Size(1280, 720), 121) if large else (Size(960, 544), 97)
        fits = list(table(shape, window, size, ForcingConfig(model="none", window=window)))
        said = [
            fit.text.removeprefix("fits with ")
            + (f" ({fit.memory.peak / 1e9:.0f} GB)" if fit.switches else "")
            for fit in fits
        ]
        short = name.removeprefix("Skywork/SkyReels-V2-").removesuffix("-Diffusers")
        whole = fits[-1].memory.peak / 1e9
        lines.append(f"| {short} | {whole:.1f} GB | {' | '.join(said)} |")
    return lines


def test_the_memory_table_is_what_the_engine_predicts() -> None:
    missing = [line for line in memory_table() if line not in PAGE]
    assert not missing, "docs/forcing.md lacks:\n" + "\n".join(missing)


def test_every_setting_of_the_sampler_and_the_engine_is_told() -> None:
    for section in (ForcingSection, EngineSection):
        for name in section.model_fields:
            assert f"`{name}" in PAGE, name


def test_named_tests_exist() -> None:
    for name in set(re.findall(r"`(test_\w+)`", PAGE)):
        files = Path(__file__).parent.glob("test_*.py")
        assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in files), name


def test_the_snippet_renders(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code.replace("steps=20", "steps=2"), "docs/forcing.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "(57, 64, 96, 3) uint8"
