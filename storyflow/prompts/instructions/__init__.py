"""What language models are told to do: one text file for each task, in our own words.

Fields, vocabularies and their order are SkyCaptioner-V1's (SkyReels-V2 report, §3.1).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from storyflow.errors import InputError

Task = Literal["enhancer", "captioner", "fuser-text", "fuser-image"]

MOST_BYTES = 100_000
"""A larger file is no instruction, and fits no model."""


def instructions(task: Task, file: Path | None = None) -> str:
    """The text for a task: storyflow's own or, where one is named, a file's.

    Raises InputError for a file that can't be read, is empty or far too long.
    """
    if file is None:
        return (files(__package__) / f"{task}.txt").read_text("utf-8").strip()
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        text = data.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"the instructions {file} can't be read: {why}", cure="check the path in the profile"
        ) from None
    if not text or len(data) > MOST_BYTES:
        what = "are empty" if not text else f"have more than {MOST_BYTES:,} bytes"
        raise InputError(f"the instructions {file} {what}", cure="name another file")
    return text
