"""Where the trained weights lie; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "weights"


def weights() -> Path | None:
    """The Diffusers folder with the trained toybox, or None where it was not trained yet."""
    return _FOLDER if (_FOLDER / "model_index.json").is_file() else None
