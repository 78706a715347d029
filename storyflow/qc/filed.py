"""Quality on disk: `qc.json` beside the film, and the measured series of each take in `qc/`.

A take's series carry the tag of the master that they were measured on, so an edit measures only
what it has changed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from storyflow.cutting.aside import written_aside
from storyflow.cutting.filed import Filed
from storyflow.qc.series import NAMES, Series
from storyflow.qc.verdicts import Quality

FILE = "qc.json"
"""Name of the findings in a film's folder."""

_VERSION = "storyflow series 1"


def write_quality(path: Path, quality: Quality) -> Path:
    """Write `qc.json`, aside and renamed. Raises CutError when the disk refuses."""
    return _FILED.write(path, quality)


def read_quality(path: Path) -> Quality:
    """What `write_quality` wrote. Raises InputError: absent or broken."""
    return _FILED.read(path)


_FILED = Filed(
    Quality,
    "a quality report",
    "run storyflow qc on the film first",
    "run storyflow qc on the film again",
)


def series_path(folder: Path, master: Path) -> Path:
    """Where the series of a master are kept: `qc/1A.safetensors` for `shots/1A.mov`."""
    return folder / "qc" / f"{master.stem}.safetensors"


def joint_path(folder: Path, name: str) -> Path:
    """Where the series around the joint of two takes are kept."""
    return folder / "qc" / f"joint.{name}.safetensors"


def write_series(path: Path, series: Series, tag: str) -> Path:
    """Write a take's series. Raises CutError when the disk refuses."""
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(getattr(series, name), np.float32) for name in NAMES}
    with written_aside(path) as target:
        save_file(tensors, target, {"format": _VERSION, "master": tag})
    return path


def read_series(path: Path, tag: str) -> Series | None:
    """The series at `path`, or None where there are none of a master with this tag."""
    from safetensors import SafetensorError, safe_open

    with suppress(OSError, SafetensorError), safe_open(path, "numpy") as file:
        about = file.metadata() or {}
        if (about.get("format"), about.get("master")) == (_VERSION, tag):
            return Series(*(file.get_tensor(name) for name in NAMES))
    return None
