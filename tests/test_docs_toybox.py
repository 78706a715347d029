"""What docs/toybox.md and the model card say of the shipped weights is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from diffusers import DiffusionPipeline

from storyflow.toybox.folder import weights

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["docs/toybox.md", "the model card"])
def test_the_sizes_of_the_networks_are_right(page: str) -> None:
    folder = weights()
    assert folder is not None
    path = DOCS / "toybox.md" if page.startswith("docs") else folder / "README.md"
    text = path.read_text(encoding="utf-8")
    stock = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    for name in ("transformer", "vae", "text_encoder"):
        network = getattr(stock, name)
        count = f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"
        assert re.search(rf"`{type(network).__name__}`[^`]*{re.escape(count)}", text), count
