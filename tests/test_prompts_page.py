"""docs/prompts.md shows what the composer says today."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from prompts_page import page, shots  # noqa: E402


def test_the_page_of_prompts_is_up_to_date() -> None:
    written = (HERE.parent / "docs" / "prompts.md").read_text(encoding="utf-8")
    assert written == page(), "write it again: python tests/prompts_page.py > docs/prompts.md"


def test_the_page_shows_thirty_shots() -> None:
    assert shots() >= 30
