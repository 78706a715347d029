"""The store: finished artifacts in a folder or a bucket, safe for any number of processes at once.

    format.json                 format version
    blobs/ab/SHA256             content, named by its hash, never overwritten
    artifacts/ab/KEY/done.json  an artifact: written last, so what is visible is whole
    recipes/ab/RECIPE.KEY       empty: listing them is the index that planning reads
    roots/RUN.json              what a run needs (see `roots.py`); all else may be collected
    claims/…                    who renders what, and who collects (see `lease.py`)
    damaged/                    what failed its checksum, kept for inspection
    tmp/                        of a folder: files being written; older than a day they are swept

Content goes first, `done.json` last and exclusively: the first writer of a key wins, a later one
adopts what it finds. After a kill at any moment an artifact is either whole or invisible. The same
layout lies in a folder and in a bucket, so one can be copied to the other.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from storyflow.errors import DamagedError, StoreError
from storyflow.store.artifacts import Artifact, Blob, Kind, Origin, Regained
from storyflow.store.kept import Spool
from storyflow.store.lease import wait_until_free
from storyflow.store.local import Folder
from storyflow.store.place import CacheLimit, Place, blob_name, open_place

FORMAT = 1
"""Version of the layout."""

PREFETCH = 500
"""Artifacts that are read from a bucket at once."""

GC = "gc"
"""The lease of whoever collects garbage."""

_NAME = re.compile(r"[0-9A-Za-z_-]{4,100}")


class Store:
    """A store in a folder (a path or `file://`) or behind an fsspec URL (`s3://BUCKET/PREFIX`).

    Opening one that doesn't exist yet is fine: it is an empty store. Raises StoreError when the
    location is not a folder or can't be opened, or its format is of another version. A store can
    be sent to other processes by its `location` (and `cache`).
    """

    def __init__(self, location: str | Path, cache: CacheLimit | None = None) -> None:
        self.cache = cache or CacheLimit()
        self.place: Place = open_place(location, self.cache)
        self.location = self.place.location
        self._known = Spool()
        self._index: set[tuple[str, str]] = set()
        self._opened = self._read_format()

    def __str__(self) -> str:
        return self.location

    @property
    def root(self) -> Path:
        """The folder. Raises StoreError for a store that is none."""
        if not isinstance(self.place, Folder):
            raise StoreError(f"the store {self.location} is no folder", cure="name a folder")
        return self.place.root

    @property
    def there(self) -> bool:
        """Whether it exists: nothing was ever stored in one that doesn't."""
        return self._opened

    def find(self, key: str) -> Artifact | None:
        """The artifact of this key, or None. Costs one small object and a look at each blob.

        One whose content is missing or has another size is set aside and not found; a missing
        entry in the recipe index is added. Raises StoreError when the store can't be read.
        """
        known = self._known.get(key)
        if known is not None:
            return parse_artifact(known, key)
        name = artifact_name(key)
        text = self.place.read(name)
        if text is None:
            if self._opened:
                self.place.require()
            return None
        artifact = parse_artifact(text, key)
        if artifact is None or not all(self._has(blob) for blob in artifact.blobs):
            # In a store that can't be written the damaged one stays where it is, unfound.
            with suppress(StoreError):
                self._set_aside(name, artifact)
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
        regained: Regained | None = None,
    ) -> Artifact:
        """Store a finished artifact and return what the store now holds for its key.

        `files` maps blob names to files anywhere; they are copied. If another writer was first,
        its artifact is returned, whatever its bits. After a kill at any moment the artifact is
        either whole or invisible. Raises StoreError: full, read-only, lost or vanished.
        """
        self.prepare()
        collected = self.after_gc()
        adopted = self.find(key)
        if adopted is not None:
            return adopted
        artifact = Artifact(
            key=key,
            recipe=recipe,
            kind=kind,
            digest=digest,
            blobs=tuple(self._put(name, path) for name, path in sorted(files.items())),
            inputs=inputs,
            frames=frames,
            latents=latents,
            numerics=numerics,
            seconds=seconds,
            worker=worker,
            origin=origin,
            regained=regained,
        )
        # A second turn is needed only when the winner of a race turns out to be damaged, or when
        # garbage was collected meanwhile, content that nothing named yet among it.
        for _ in range(3):
            if self._publish(artifact):
                self.remember(artifact.recipe, artifact.key)
                if self.after_gc() == collected:
                    return artifact
                for name, path in sorted(files.items()):
                    self._put(name, path)
            adopted = self.find(key)
            if adopted is not None:
                return adopted
        raise StoreError(
            f"can't store {key} in {self}: its place is taken by something unreadable",
            cure=f"remove {artifact_name(key)}",
        )

    def path(self, artifact: Artifact, name: str) -> Path:
        """A blob's file on this machine, its sha256 verified once per process.

        Raises DamagedError when it doesn't match: the blob and the artifact are then out of sight
        (in `damaged/`), so that the next run renders it again. Raises StoreError when it can't be
        read, KeyError for a name that the artifact doesn't have.
        """
        blob = artifact.blob(name)
        path = self.place.fetch(blob)
        if path is None:
            raise self._damaged(artifact, blob)
        return path

    def check(self, artifact: Artifact) -> None:
        """Raises DamagedError, as `path` does, unless all content is whole as far as is known.

        In a folder: hashed before by this machine and unchanged since (see `marks.py`), else hashed
        now. In a bucket: there, with the right size. Enough to reuse an artifact; whoever reads its
        content gets it from `path`, verified.
        """
        for blob in artifact.blobs:
            if not self.place.sound(blob):
                raise self._damaged(artifact, blob)

    def address(self, artifact: Artifact, name: str) -> str:
        """Where a blob lies: a path, or a URL in a bucket. Reads nothing. Raises KeyError."""
        return f"{self.location}/{blob_name(artifact.blob(name).sha256)}"

    def discard(self, key: str) -> None:
        """Put an artifact out of sight (into `damaged/`), content of others untouched."""
        name = artifact_name(key)
        text = self.place.read(name)
        self._set_aside(name, None if text is None else parse_artifact(text, key))

    def recipes(self) -> Mapping[str, tuple[str, ...]]:
        """Every recipe in the store and the keys stored for it, ascending; no object is opened."""
        found: dict[str, list[str]] = {}
        self._index.clear()
        for name in self.place.names("recipes/"):
            recipe, dot, key = name.rpartition("/")[2].partition(".")
            if dot:
                found.setdefault(recipe, []).append(key)
                self._index.add((recipe, key))
        return {recipe: tuple(sorted(keys)) for recipe, keys in found.items()}

    def artifacts(self, keys: Iterable[str]) -> dict[str, Artifact]:
        """The artifacts of these keys, with few requests and without a look at their content."""
        names = {artifact_name(key): key for key in keys}
        found = self.place.read_many(names)
        read = (parse_artifact(text, names[name]) for name, text in found.items())
        return {artifact.key: artifact for artifact in read if artifact is not None}

    def recall(self, keys: Iterable[str]) -> dict[str, Artifact]:
        """Artifacts that were found or stored before, read again; those that are gone are left out.

        Like `artifacts`, but what was prefetched costs no request. Raises StoreError.
        """
        keys = list(keys)
        known = {key: text for key in keys if (text := self._known.get(key)) is not None}
        found = {key: parse_artifact(text, key) for key, text in known.items()}
        rest = self.artifacts([key for key in keys if key not in known]) if keys else {}
        return rest | {key: artifact for key, artifact in found.items() if artifact is not None}

    def prefetch(self, recipes: Iterable[str], keys: Iterable[str]) -> None:
        """Get ready to `find` what these recipes and keys have: in a bucket all at once.

        What is found now is taken as it is now for as long as this object lives.
        """
        from storyflow.store.remote import Remote

        if not isinstance(self.place, Remote):
            return
        index = self.recipes()
        wanted = {*keys, *(key for recipe in recipes for key in index.get(recipe, ()))}
        if wanted:
            self.place.remember_sizes(self.place.list("blobs/"))
        ordered = sorted(wanted)
        for start in range(0, len(ordered), PREFETCH):
            some = ordered[start : start + PREFETCH]
            names = {artifact_name(key): key for key in some}
            for name, text in self.place.read_many(names).items():
                artifact = parse_artifact(text, names[name])
                if artifact is not None and all(self.place.sound(b) for b in artifact.blobs):
                    self._known.put(artifact.key, text)

    def remember(self, recipe: str, key: str) -> None:
        """Index an artifact under a recipe, if it isn't already: planning will expect to reuse it.

        An artifact is found under another recipe than its own where an edit upstream came to the
        same pixels. The entry is only a hint, so a store that can't be written may lack it.
        """
        entry = (_checked(recipe), _checked(key))
        if entry not in self._index:
            self.place.touch(f"recipes/{recipe[:2]}/{recipe}.{key}")
            self._index.add(entry)

    def reuse(self, recipe: str, artifact: Artifact) -> bool:
        """Say that a run needs this artifact under this recipe; False if it was just collected.

        Costs nothing where the recipe is its own. See `gc.py` for why nothing can come between.
        """
        if recipe == artifact.recipe:
            return True
        self.remember(recipe, artifact.key)
        self.after_gc()
        return self.place.size(artifact_name(artifact.key)) is not None

    def after_gc(self) -> int:
        """Wait while garbage is collected; how often it was so far. Raises StoreError."""
        return wait_until_free(self.place, GC)

    def check_writable(self) -> None:
        """Write a nonce, read it back, remove it, and sweep stale temporary files.

        Raises StoreError (read-only, full, missing, another's disk) before anything is rendered.
        """
        self.prepare()
        nonce = secrets.token_hex(16).encode()
        name = f"tmp/nonce-{secrets.token_hex(8)}/nonce"
        self.place.put_new(name, nonce)
        back = self.place.read(name)
        # A server that knows no conditions takes a second one; then two writers are only harmless.
        if self.place.put_new(name, nonce[::-1]):
            self.place.exclusive = False
        # While the nonce is there: it tells what time it is in a bucket.
        self.place.tidy()
        self.place.delete([name])
        if back != nonce:
            raise StoreError(
                f"the store {self} gave back other bytes than were written",
                cure="check the disk or name another store",
            )

    @property
    def notice(self) -> str:
        """What a run should be told about this store; known after `check_writable`."""
        if self.place.exclusive:
            return ""
        return (
            f"{self} can't create objects exclusively: two runs of one film at the same moment "
            "may render a segment twice; what is stored stays whole"
        )

    def scratch(self, what: str) -> AbstractContextManager[Path]:
        """A folder for files that are about to be stored, swept when this process is killed.

        Raises StoreError.
        """
        return self.place.scratch(what)

    def _damaged(self, artifact: Artifact, blob: Blob) -> DamagedError:
        self.place.require()
        self.place.set_aside(blob_name(blob.sha256))
        self.discard(artifact.key)
        return DamagedError(
            f"{blob.name} of artifact {artifact.key} in {self} is damaged and was set aside",
            cure="run the same command again to render it anew",
        )

    def _has(self, blob: Blob) -> bool:
        return self.place.size(blob_name(blob.sha256)) == blob.size

    def _read_format(self) -> bool:
        """True if the store exists; raises StoreError for one that this version can't use."""
        text = self.place.read("format.json")
        if text is None:
            return False
        try:
            version = json.loads(text)["storyflow-store"]
        except (ValueError, KeyError, TypeError):
            version = None
        if version != FORMAT:
            raise StoreError(
                f"the store {self} has format {version!r}, this version reads {FORMAT}",
                cure="name another store, or use the storyflow version that wrote it",
            )
        return True

    def prepare(self) -> None:
        """Make the layout on first use. Raises StoreError, also where a store has vanished."""
        if self._opened:
            self.place.require()
            return
        self.place.prepare()
        if not self._read_format():
            self.place.put("format.json", f'{{"storyflow-store": {FORMAT}}}\n'.encode())
        self._opened = self._read_format()

    def _put(self, name: str, source: Path) -> Blob:
        sha256, size = self.place.put_blob(source)
        return Blob(name, sha256, size)

    def _publish(self, artifact: Artifact) -> bool:
        """Make the artifact visible; False if another one of its key is there."""
        text = json.dumps({"storyflow": FORMAT, **asdict(artifact)}, indent=1)
        return self.place.put_new(artifact_name(artifact.key), f"{text}\n".encode())

    def _set_aside(self, name: str, artifact: Artifact | None) -> None:
        """Move an artifact into `damaged/`, with its index entries removed."""
        if artifact is not None:
            self._known.drop(artifact.key)
            end = f".{artifact.key}"
            self.place.delete([n for n in self.place.names("recipes/") if n.endswith(end)])
            self._index = {entry for entry in tuple(self._index) if entry[1] != artifact.key}
        self.place.set_aside(name)


def artifact_name(key: str) -> str:
    """The object that says that an artifact is whole. Raises ValueError for what is no key."""
    return f"artifacts/{_checked(key)[:2]}/{key}/done.json"


def parse_artifact(text: bytes, key: str) -> Artifact | None:
    """The artifact of a done.json, None for one that can't be understood."""
    try:
        data = json.loads(text)
        if data.pop("storyflow") != FORMAT:
            return None
        artifact = _artifacts().validate_python(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return artifact if artifact.key == key else None


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a key or recipe is 4 to 100 letters and digits, got {name!r}")
    return name


@cache
def _artifacts() -> TypeAdapter[Artifact]:
    return TypeAdapter(Artifact)
