"""The pictures and clips that a storyboard names: in its folder, there, and what they claim to be.

A storyboard may come from anybody, so a reference must not lead out of the storyboard's folder,
neither by `..` nor by a link, and its content must be of the kind that its name says.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storyflow.documents import nearest

Kind = Literal["picture", "clip"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
CLIPS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(PICTURES, "picture"),
    **dict.fromkeys(CLIPS, "clip"),
}


class BadReference(ValueError):
    """A reference that can't be used, with a problem code and a cure."""

    def __init__(self, code: str, what: str, cure: str) -> None:
        super().__init__(what)
        self.code = code
        self.cure = cure


@dataclass(frozen=True)
class Reference:
    """A file that is there and is what its name says."""

    path: Path
    kind: Kind


def looks_like_file(text: str) -> bool:
    """Whether a `from:` means a file, and not a shot: it has a folder or a media extension."""
    return "/" in text or "\\" in text or Path(text).suffix.lower() in KINDS


def find(text: str, root: Path, *, allow_outside: bool = False) -> Reference:
    """The file that `text` names, from `root`. Raises BadReference."""
    inside = "keep pictures and clips in the storyboard's folder"
    if re.match(r"[a-zA-Z][\w+.-]*://", text):
        raise BadReference("outside-reference", "this is an address, not a file", inside)
    if "\\" in text:
        raise BadReference("missing-reference", "this file is not there", "write / between folders")
    absolute = Path(text).is_absolute() or text.startswith("~")
    if absolute and not allow_outside:
        what = "this leads out of the storyboard's folder"
        raise BadReference("outside-reference", what, f"write a path from it, or {inside}")
    try:
        path = (root / Path(text).expanduser()).resolve()
        base = root.resolve()
    except (OSError, RuntimeError, ValueError):
        raise BadReference("missing-reference", "this file is not there", "check it") from None
    if not allow_outside and not path.is_relative_to(base):
        raise BadReference("outside-reference", "this leads out of the storyboard's folder", inside)
    if not _exists(path):
        near = nearest(Path(text).name, _names(path.parent))
        cure = f"did you mean '{Path(text).parent / near}'?" if near else "put it there"
        raise BadReference("missing-reference", "this file is not there", cure)
    return look(path)


def look(path: Path) -> Reference:
    """A file that is there, looked into. Raises BadReference."""
    if not path.is_file():
        raise BadReference("not-a-file", "this is not a file", "name a picture or a clip")
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(extension[1:] for extension in KINDS)
        raise BadReference("unknown-kind", "this is neither picture nor clip", f"use {known}")
    _look_inside(path, kind)
    return Reference(path, kind)


def _look_inside(path: Path, kind: Kind) -> None:
    try:
        with path.open("rb") as stream:
            head = stream.read(32)
    except OSError as error:
        raise BadReference(
            "unreadable-reference", f"this can't be read ({error.strerror})", "check permissions"
        ) from None
    found = signature(head)
    if found != kind:
        what = f"this is named like a {kind}, but its content is {_described(found, head)}"
        raise BadReference("wrong-kind", what, f"export it again as a {kind}")


def signature(head: bytes) -> Kind | None:
    """What a file's first 32 bytes say it is; None for anything but a picture or a clip."""
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")):
        return "picture"
    if head[:4] == b"RIFF":
        return {b"WEBP": "picture", b"AVI ": "clip"}.get(head[8:12])  # type: ignore[return-value]
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "clip"
    return "clip" if head.startswith(b"\x1a\x45\xdf\xa3") else None


def _described(found: Kind | None, head: bytes) -> str:
    if not head:
        return "empty"
    return f"a {found}" if found else "something else"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        names = sorted(os.listdir(folder))[:1000]
    except OSError:
        return []
    return [name for name in names if Path(name).suffix.lower() in KINDS]
