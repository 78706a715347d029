"""The author's pictures and clips: into the store on the way out, out of it on the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from storyflow.errors import InputError, StoreError
from storyflow.jobs.ticket import Reference
from storyflow.planning.nodes import Plan
from storyflow.planning.sources import sources
from storyflow.store.hashing import file_hash
from storyflow.store.store import Store
from storyflow.storyboard.model import Film
from storyflow.storyboard.references import find, looks_like_file

CONTENT = "content"
"""Blob name of a file that is kept as it is."""


def file_key(sha256: str) -> str:
    """The store's key for a file's content."""
    return f"file-{sha256}"


def named(film: Film) -> Mapping[str, Path]:
    """Every file that a checked film itself names, by the text that names it."""
    root = film.origin.root or Path.cwd()
    ids = {shot.id for _, _, shot in film.each_shot()}
    texts = dict.fromkeys(text for text in _texts(film) if text not in ids)
    return {text: find(text, root, allow_outside=True).path for text in texts}


def inherited(film: Film) -> Mapping[str, Path]:
    """Every picture that a checked film has from its series, by the text that names it there."""
    return {
        member.ref: find(member.ref, member.origin.root, allow_outside=True).path
        for member in film.cast.values()
        if member.ref is not None and member.origin.root is not None
    }


def hashed(files: Mapping[str, Path], plan: Plan) -> tuple[Reference, ...]:
    """The files by their content; what the plan has hashed is not read again.

    Raises InputError for one that can't be read.
    """
    known = {source.path: source.condition.digest for source in sources(plan, plan.segments)}
    references = []
    for text, path in files.items():
        try:
            sha256 = known.get(path) or file_hash(path)
        except OSError as error:
            raise InputError(
                f"{path} can't be read ({error.strerror})", cure="check the file"
            ) from None
        known[path] = sha256
        references.append(Reference(text=text, sha256=sha256))
    return tuple(references)


def put(store: Store, references: Iterable[Reference], files: Mapping[str, Path]) -> None:
    """Store those of the files that the store lacks.

    Raises InputError for one that changes meanwhile, StoreError.
    """
    for reference in references:
        _put(store, reference.sha256, files[reference.text])


def place(store: Store, references: Iterable[Reference], folder: Path) -> Mapping[str, Path]:
    """Give every reference a file in `folder`, with its own name, whose content is the store's.

    Raises StoreError where the store lacks one or it is damaged.
    """
    placed = {}
    for reference in references:
        artifact = store.find(file_key(reference.sha256))
        if artifact is None:
            raise StoreError(
                f"the store has lost {reference.text} (sha256 {reference.sha256[:12]}…)",
                cure="submit the film again",
            )
        link = folder / reference.sha256[:16] / Path(reference.text).name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(store.path(artifact, CONTENT))
        placed[reference.text] = link
    return placed


def _texts(film: Film) -> Iterator[str]:
    for member in film.cast.values():
        if member.ref is not None and member.origin.root is None:
            yield member.ref
    for _, _, shot in film.each_shot():
        if shot.from_ is not None and looks_like_file(shot.from_):
            yield shot.from_
        if shot.to is not None:
            yield shot.to


def _put(store: Store, sha256: str, path: Path) -> None:
    key = file_key(sha256)
    found = store.find(key)
    if found is None:
        found = store.commit(
            key=key,
            recipe=key,
            kind="file",
            digest=sha256,
            inputs=json.dumps({"name": path.name}),
            files={CONTENT: path},
        )
    if found.blob(CONTENT).sha256 != sha256:
        store.discard(key)
        raise InputError(
            f"{path} changed while it was put into the store", cure="submit the film again"
        )
