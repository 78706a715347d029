"""`job.json` in a film's folder: the job that was last submitted from here.

With it `status`, `wait` and `fetch` need no address, and `fetch` no cluster that still runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from storyflow.errors import InfrastructureError
from storyflow.jobs.values import JobHandle

RECORD = "job.json"
RENDERS = Path("renders")
"""Where films' folders are, unless one is named."""


def remember(handle: JobHandle) -> None:
    """Write the handle into its folder. Raises InfrastructureError."""
    path = handle.folder / RECORD
    text = json.dumps({"storyflow": 1, **asdict(handle)}, indent=1, default=str)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{RECORD}.part")
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise InfrastructureError(
            f"can't write {path} ({error.strerror})", cure="choose a folder with --out"
        ) from None


def recall(folder: Path) -> JobHandle | None:
    """The handle in a folder; None where there is none that can be read."""
    try:
        data = json.loads((folder / RECORD).read_bytes())
        data.pop("storyflow", None)
        handle = TypeAdapter(JobHandle).validate_python(data)
    except (OSError, ValueError, AttributeError, ValidationError):
        return None
    return replace(handle, folder=folder, submitted=False)


def recall_all() -> Iterator[JobHandle]:
    """The handles of all films that were submitted from this directory."""
    for path in sorted(RENDERS.glob(f"*/{RECORD}")):
        handle = recall(path.parent)
        if handle is not None:
            yield handle
