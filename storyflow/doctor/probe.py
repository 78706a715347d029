"""What a machine finds out about itself. Runs on every node of a cluster; imports neither Ray nor
torch, and takes no accelerator.
"""

from __future__ import annotations

import platform
import shutil
import socket
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from storyflow.doctor.cards import cards_here
from storyflow.doctor.facts import Disk, ModelFact, Question, Seen, StoreFact, StoreState, Versions
from storyflow.doctor.models import look_for
from storyflow.errors import StoreError
from storyflow.store.disk import cache_folder, explain
from storyflow.store.place import CacheLimit, is_url
from storyflow.store.store import Store

SHARED_MEMORY = Path("/dev/shm")
"""Where Ray keeps its object store on Linux."""

_TRIED = 4096
"""Bytes that are written to see whether a disk takes them."""


def look(question: Question) -> Seen:
    """Answer the question, as far as can be seen from here. Raises nothing that is foreseen."""
    return Seen(
        host=socket.gethostname(),
        versions=versions_here(),
        cards=cards_here(),
        disks=tuple(_disks(question)),
        store=look_at_store(question),
        models=tuple(ModelFact(asked, *look_for(asked)) for asked in question.models),
        shared_memory=_size(SHARED_MEMORY),
    )


def versions_here() -> Versions:
    """Of this process's Python and packages."""
    return Versions(
        platform.python_version(), _version("ray"), _version("storyflow"), _version("torch")
    )


def look_at_store(question: Question) -> StoreFact:
    """Reach the store, look whether it is the asking machine's, and write into it."""
    began = time.monotonic()
    state: StoreState = "unreachable"
    try:
        store = Store(question.store, question.cache)
        if question.nonce is not None:
            state = "other"
            question.nonce.find(store)
        state = "unwritable"
        store.check_writable()
    except StoreError as error:
        return StoreFact(state, error.what, error.cure, time.monotonic() - began)
    return StoreFact("ok", seconds=time.monotonic() - began)


def _disks(question: Question) -> list[Disk]:
    found = [look_at_disk("temporary files", Path(tempfile.gettempdir()))]
    if is_url(question.store):
        found.append(look_at_disk("cache", cache_place(question.cache)))
    else:
        place = Path(question.store.removeprefix("file://").removeprefix("local://"))
        total, free = _room(place)
        # Whether it can be written is the store's own fact.
        found.append(Disk("store", str(place), free, total))
    return found


def cache_place(cache: CacheLimit) -> Path:
    """The folder that content of a bucket is kept in on this machine."""
    return cache_folder() if cache.folder is None else cache.folder.expanduser()


def look_at_disk(use: str, folder: Path) -> Disk:
    """The room on a folder's disk, and whether a file can be written there."""
    fault = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="storyflow-") as file:
            file.write(bytes(_TRIED))
            file.flush()
    except OSError as error:
        fault = explain(error)[0]
    total, free = _room(folder)
    return Disk(use, str(folder), free, total, fault)  # type: ignore[arg-type]


def _room(place: Path) -> tuple[int, int]:
    """Total and free bytes of a folder's disk, or of what it will lie on."""
    for folder in (place, *place.parents):
        try:
            room = shutil.disk_usage(folder)
        except OSError:
            continue
        return room.total, room.free
    return 0, 0


def _size(folder: Path) -> int:
    return _room(folder)[0] if folder.is_dir() else 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
