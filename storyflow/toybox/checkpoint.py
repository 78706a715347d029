"""Checkpoints and the log of a training stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def store(path: Path, step: int, model: Any, optimizer: Any = None, **extra: Any) -> None:
    """Write a checkpoint; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict() if optimizer is not None else {},
        **extra,
    }
    torch.save(data, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def restore(path: Path, model: Any, optimizer: Any = None) -> int:
    """Load a checkpoint into a model (and its optimizer, where one was stored); the step it goes on
    at, 0 for none."""
    if not path.exists():
        return 0
    data = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(data["model"])
    if optimizer is not None and data["optimizer"]:
        optimizer.load_state_dict(data["optimizer"])
    return int(data["step"])


class Log:
    """A CSV file that grows by a row at a time, and goes on where it ended."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(",".join(columns) + "\n", encoding="utf-8")

    def write(self, *row: object) -> None:
        """Add a row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(",".join(str(value) for value in row) + "\n")
