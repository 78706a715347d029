"""The store: a folder of finished artifacts, safe for any number of processes at once.

    ROOT/format.json                    format version
    ROOT/blobs/ab/SHA256                content, named by its hash, never overwritten
    ROOT/artifacts/ab/KEY/done.json     an artifact: written last, so what is visible is whole
    ROOT/recipes/ab/RECIPE.KEY          empty files: listing them is the index that planning reads
    ROOT/damaged/                       what failed its checksum, kept for inspection
    ROOT/tmp/                           files being written; older than a day they are swept

Nothing visible is ever half-written: content goes to `tmp`, is synced and renamed into place.
`done.json` is written inside a folder in `tmp` which is then renamed to the key's name; a rename
onto a folder that isn't empty fails, so the first writer wins on every POSIX file system, with or
without hard links, and a later one adopts what it finds.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from storyflow.errors import DamagedError, StoreError
from storyflow.store.artifacts import Artifact, Blob, Kind, Origin
from storyflow.store.disk import copy_synced, sync_folder, telling, write_synced
from storyflow.store.hashing import file_hash

FORMAT = 1
"""Version of the folder's layout."""

STALE_SECONDS = 24 * 3600
"""Age at which a file in `tmp` can't belong to a living writer."""

_NAME = re.compile(r"[0-9A-Za-z_-]{4,100}")


class Store:
    """A store in a folder. Opening one that doesn't exist yet is fine: it is an empty store.

    Raises StoreError when the path is not a folder or its format is of another version. A store
    can be sent to other processes by its `root`.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        self._verified: set[str] = set()
        self._opened = self._read_format()

    def find(self, key: str) -> Artifact | None:
        """The artifact of this key, or None. Costs one small file and a stat per blob.

        One whose content is missing or has another size is set aside and not found; a missing
        entry in the recipe index is added. Raises StoreError when the folder can't be read.
        """
        folder = self._folder(key)
        path = folder / "done.json"
        with telling("read", path):
            try:
                text = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                if self._opened:
                    self._require()
                return None
            artifact = _parse(text, key)
            whole = artifact is not None and all(self._has(blob) for blob in artifact.blobs)
        if artifact is None or not whole:
            # In a store that can't be written the damaged one stays where it is, unfound.
            with suppress(StoreError):
                self._set_aside(folder, artifact)
            return None
        self.remember(artifact.recipe, artifact.key)
        return artifact

    def commit(
        self,
        *,
        key: str,
        recipe: str,
        kind: Kind,
        digest: str,
        inputs: str,
        files: Mapping[str, Path],
        frames: tuple[str, ...] = (),
        latents: tuple[str, ...] = (),
        numerics: str = "",
        seconds: float = 0.0,
        worker: str = "",
        origin: Origin | None = None,
    ) -> Artifact:
        """Store a finished artifact and return what the store now holds for its key.

        `files` maps blob names to files anywhere; they are copied. If another writer was first,
        its artifact is returned, whatever its bits. After a kill at any moment the artifact is
        either whole or invisible. Raises StoreError: full, read-only or vanished.
        """
        self._create()
        adopted = self.find(key)
        if adopted is not None:
            return adopted
        blobs = tuple(self._put(name, path) for name, path in sorted(files.items()))
        artifact = Artifact(
            key=key,
            recipe=recipe,
            kind=kind,
            digest=digest,
            blobs=blobs,
            inputs=inputs,
            frames=frames,
            latents=latents,
            numerics=numerics,
            seconds=seconds,
            worker=worker,
            origin=origin,
        )
        # A second turn is needed only when the winner of a race turns out to be damaged.
        for _ in range(3):
            if self._publish(artifact):
                self.remember(artifact.recipe, artifact.key)
                return artifact
            adopted = self.find(key)
            if adopted is not None:
                return adopted
        raise StoreError(
            f"can't store {key} in {self.root}: its place is taken by something unreadable",
            cure=f"remove {self._folder(key)}",
        )

    def path(self, artifact: Artifact, name: str) -> Path:
        """A blob's file, its sha256 verified once per process.

        Raises DamagedError when it doesn't match: the blob and the artifact are then out of sight
        (in `damaged/`), so that the next run renders it again. Raises StoreError when it can't be
        read, KeyError for a name that the artifact doesn't have.
        """
        blob = artifact.blob(name)
        path = self._blob(blob.sha256)
        if blob.sha256 in self._verified:
            return path
        with telling("read", path):
            matches = _matches(path, blob.sha256)
        if not matches:
            self._require()
            self._set_aside(path, None)
            self.discard(artifact.key)
            raise DamagedError(
                f"{name} of artifact {artifact.key} in {self.root} is damaged and was set aside",
                cure="run the same command again to render it anew",
            )
        self._verified.add(blob.sha256)
        return path

    def discard(self, key: str) -> None:
        """Put an artifact out of sight (into `damaged/`), content of others untouched."""
        folder = self._folder(key)
        try:
            artifact = _parse((folder / "done.json").read_bytes(), key)
        except OSError:
            artifact = None
        self._set_aside(folder, artifact)

    def recipes(self) -> Mapping[str, tuple[str, ...]]:
        """Every recipe in the store and the keys stored for it, ascending; no file is opened."""
        found: dict[str, list[str]] = {}
        folder = self.root / "recipes"
        with telling("list", folder):
            try:
                shelves = [entry.path for entry in os.scandir(folder)]
            except FileNotFoundError:
                return {}
            for shelf in shelves:
                for name in os.listdir(shelf):
                    recipe, dot, key = name.partition(".")
                    if dot:
                        found.setdefault(recipe, []).append(key)
        return {recipe: tuple(sorted(keys)) for recipe, keys in found.items()}

    def check_writable(self) -> None:
        """Write a nonce, read it back, remove it, and sweep stale temporary files.

        Raises StoreError (read-only, full, missing, another's disk) before anything is rendered.
        """
        self._create()
        nonce = secrets.token_hex(16)
        path = self._temporary()
        with telling("write to the store", self.root):
            write_synced(path, nonce.encode())
            try:
                back = path.read_text()
            finally:
                path.unlink(missing_ok=True)
        if back != nonce:
            raise StoreError(
                f"the store {self.root} gave back other bytes than were written",
                cure="check the disk or name another folder",
            )
        self._sweep()

    def _folder(self, key: str) -> Path:
        return self.root / "artifacts" / _checked(key)[:2] / key

    def _blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256[:2] / sha256

    def _temporary(self) -> Path:
        return self.root / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"

    def _has(self, blob: Blob) -> bool:
        try:
            return self._blob(blob.sha256).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def _read_format(self) -> bool:
        """True if the store exists; raises StoreError for one that this version can't use."""
        path = self.root / "format.json"
        with telling("open the store", self.root):
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"the store {self.root} is a file", cure="name a folder")
            try:
                text = path.read_text("utf-8")
            except FileNotFoundError:
                return False
        try:
            version = json.loads(text)["storyflow-store"]
        except (ValueError, KeyError, TypeError):
            version = None
        if version != FORMAT:
            raise StoreError(
                f"the store {self.root} has format {version!r}, this version reads {FORMAT}",
                cure="name another folder, or use the storyflow version that wrote it",
            )
        return True

    def _require(self) -> None:
        """Raises StoreError when the store that was there is gone (its disk was unmounted)."""
        with telling("reach the store", self.root):
            (self.root / "format.json").stat()

    def _create(self) -> None:
        """Make the layout on first use; a store that was there and vanished is an error."""
        if self._opened:
            self._require()
            return
        marker = self.root / "format.json"
        with telling("create the store", self.root):
            for name in ("tmp", "blobs", "artifacts", "recipes"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            path = self._temporary()
            write_synced(path, f'{{"storyflow-store": {FORMAT}}}\n'.encode())
            if marker.exists():
                path.unlink()
            else:
                path.replace(marker)
            sync_folder(self.root)
        self._opened = self._read_format()

    def _put(self, name: str, source: Path) -> Blob:
        temporary = self._temporary()
        with telling(f"store {name} in", self.root):
            try:
                sha256, size = copy_synced(source, temporary)
                blob = Blob(name, sha256, size)
                target = self._blob(sha256)
                # A blob that is there already is kept, unless it fails its checksum.
                if not _matches(target, sha256):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary.replace(target)
                    sync_folder(target.parent)
            finally:
                temporary.unlink(missing_ok=True)
        self._verified.add(sha256)
        return blob

    def _publish(self, artifact: Artifact) -> bool:
        """Make the artifact visible; False if another one of its key is there."""
        folder = self._folder(artifact.key)
        temporary = self._temporary()
        text = json.dumps({"storyflow": FORMAT, **asdict(artifact)}, indent=1)
        with telling("store an artifact in", self.root):
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            try:
                write_synced(temporary / "done.json", (text + "\n").encode())
                sync_folder(temporary)
                os.rename(temporary, folder)
            except OSError as error:
                shutil.rmtree(temporary, ignore_errors=True)
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
            sync_folder(folder.parent)
        return True

    def remember(self, recipe: str, key: str) -> None:
        """Index an artifact under a recipe, if it isn't already: planning will expect to reuse it.

        An artifact is found under another recipe than its own where an edit upstream came to the
        same pixels. The entry is only a hint, so a store that can't be written may lack it.
        """
        shelf = self.root / "recipes" / _checked(recipe)[:2]
        entry = shelf / f"{recipe}.{_checked(key)}"
        with suppress(OSError):
            if not entry.exists():
                shelf.mkdir(parents=True, exist_ok=True)
                entry.touch()

    def _set_aside(self, path: Path, artifact: Artifact | None) -> None:
        """Move a blob or an artifact's folder into `damaged/`, with its index entries removed."""
        damaged = self.root / "damaged"
        with telling("set aside a damaged artifact in", self.root):
            if artifact is not None:
                for entry in (self.root / "recipes").glob(f"*/*.{artifact.key}"):
                    entry.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                damaged.mkdir(exist_ok=True)
                os.rename(path, damaged / f"{path.name}.{secrets.token_hex(4)}")

    def _sweep(self) -> None:
        """Remove temporary files that no living writer can own. Another sweeper may be faster."""
        oldest = time.time() - STALE_SECONDS
        try:
            entries = list(os.scandir(self.root / "tmp"))
        except OSError:
            return
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_mtime >= oldest:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
            except OSError:
                continue


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a key or recipe is 4 to 100 letters and digits, got {name!r}")
    return name


def _matches(path: Path, sha256: str) -> bool:
    try:
        return file_hash(path) == sha256
    except FileNotFoundError:
        return False


@cache
def _artifacts() -> TypeAdapter[Artifact]:
    return TypeAdapter(Artifact)


def _parse(text: bytes, key: str) -> Artifact | None:
    """The artifact of a done.json, None for one that can't be understood."""
    try:
        data = json.loads(text)
        if data.pop("storyflow") != FORMAT:
            return None
        artifact = _artifacts().validate_python(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return artifact if artifact.key == key else None
