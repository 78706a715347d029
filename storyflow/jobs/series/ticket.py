"""What is sent of a series: a ticket by the job API, and a bundle of its files by the store.

job.json                  the ticket
cluster.yaml              the cluster file, as seen from the cluster

In the bundle, which has no limit of size:

series/NAME.yaml          the series file, as it was written
episodes/0007/NAME.yaml   a storyboard, as it was written, with its lock and its cut list
profiles/0/NAME.yaml      a pipeline profile, with the series' settings applied
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from storyflow.documents import Strict
from storyflow.errors import StoreError
from storyflow.jobs.ticket import Reference, token_key

BUNDLE = "bundle.zip"
"""Blob name of the bundle."""


class SentEpisode(Strict):
    """One episode of a submitted series.

    `entry` is its place among the series file's entries, from 0, `file` the storyboard's name where
    it was submitted. `storyboard` and `profile` are files of the bundle; a `broken` one has none,
    and says why.
    """

    name: str
    entry: int
    file: str
    storyboard: str = ""
    profile: str = ""
    references: tuple[Reference, ...] = ()
    broken: str = ""


class SeriesTicket(Strict):
    """What to do. `job` is the job's id, `name` the series' name on the cluster, `claim` in stores.

    `digest` stands for all that decides the films; `cast` are the pictures that the series file
    names. `command` is what submits the series again, where it was submitted. `retry` lets what
    failed for good be tried again, `doctor` examines the cluster first.
    """

    storyflow: Literal[1] = 1
    version: str
    job: str
    name: str
    title: str
    claim: str
    digest: str
    nonce: str
    series: str
    episodes: tuple[SentEpisode, ...]
    cast: tuple[Reference, ...] = ()
    command: tuple[str, ...] = ()
    retry: bool = False
    doctor: bool = True

    @property
    def token(self) -> str:
        """The key of the bundle in the store."""
        return token_key(self.job, self.nonce)


def digest_of(files: Mapping[str, bytes], *more: str) -> str:
    """12 hex digits over names and contents, and whatever else decides what is made of them."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    for text in more:
        digest.update(f"{len(text)} {text}\n".encode())
    return digest.hexdigest()[:12]


def pack(files: Mapping[str, bytes], path: Path) -> None:
    """Write the bundle. Raises OSError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in sorted(files.items()):
            bundle.writestr(name, content)


def unpack(path: Path, folder: Path) -> None:
    """Write a bundle's files below a folder. Raises StoreError for one that leads out of it."""
    with zipfile.ZipFile(path) as bundle:
        for name in bundle.namelist():
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts:
                raise StoreError(f"the bundle holds {name!r}, which leads out of its folder")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(bundle.read(name))
