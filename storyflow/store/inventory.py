"""What a store holds, in numbers: per run, and what no run needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from storyflow.store.artifacts import Artifact
from storyflow.store.gc import needed
from storyflow.store.roots import Root, read_roots
from storyflow.store.store import Store


@dataclass(frozen=True)
class RunRow:
    """One run: how many artifacts it has in the store, and their bytes.

    `size` counts shared content in each run that needs it, `alone` what no other run needs.
    `segments` of `planned` are there, over all numerics classes and variants.
    """

    run: str
    film: str
    when: str
    host: str
    folder: str
    pipeline: str
    finished: bool
    planned: int
    segments: int
    artifacts: int
    size: int
    alone: int


@dataclass(frozen=True)
class Inventory:
    """A store in numbers; sizes in bytes, content that is shared counts once.

    `sources` are an author's pictures and clips, as they are and as they were read; `jobs` what was
    submitted to a cluster and what came of it.
    """

    store: str
    runs: tuple[RunRow, ...]
    artifacts: int
    segments: int
    prompts: int
    sources: int
    jobs: int
    size: int
    loose_artifacts: int
    loose_size: int
    damaged: int
    damaged_size: int


def take_stock(store: Store) -> Inventory:
    """Read every artifact's description, none of their content. Raises StoreError."""
    roots = read_roots(store)
    listed = {name.split("/")[-2] for name in store.place.names("artifacts/")}
    artifacts = store.artifacts(listed)
    index = store.recipes()
    per_run = {root.run: _of(index, root, artifacts) for root in roots}
    users: dict[str, int] = {}
    for kept in per_run.values():
        for sha256 in {blob.sha256 for artifact in kept for blob in artifact.blobs}:
            users[sha256] = users.get(sha256, 0) + 1
    rooted = {artifact.key for kept in per_run.values() for artifact in kept}
    loose = [artifact for artifact in artifacts.values() if artifact.key not in rooted]
    contents = _contents(artifacts.values())
    damaged = list(store.place.list("damaged/"))
    kinds = [artifact.kind for artifact in artifacts.values()]
    return Inventory(
        store=store.location,
        runs=tuple(_row(root, per_run[root.run], users) for root in roots),
        artifacts=len(artifacts),
        segments=kinds.count("segment"),
        prompts=kinds.count("prompt"),
        sources=kinds.count("media") + kinds.count("file"),
        jobs=kinds.count("job") + kinds.count("film"),
        size=sum(contents.values()),
        loose_artifacts=len(loose),
        loose_size=sum(size for h, size in _contents(loose).items() if h not in users),
        damaged=len(damaged),
        damaged_size=sum(one.size for one in damaged),
    )


def _of(
    index: Mapping[str, Sequence[str]], root: Root, artifacts: Mapping[str, Artifact]
) -> list[Artifact]:
    recipes, keys = needed(index, [root])
    return [a for a in artifacts.values() if a.key in keys or a.recipe in recipes]


def _row(root: Root, kept: list[Artifact], users: dict[str, int]) -> RunRow:
    contents = _contents(kept)
    return RunRow(
        run=root.run,
        film=root.film,
        when=root.when,
        host=root.host,
        folder=root.folder,
        pipeline=root.pipeline,
        finished=root.finished,
        planned=len(root.recipes),
        segments=sum(artifact.kind == "segment" for artifact in kept),
        artifacts=len(kept),
        size=sum(contents.values()),
        alone=sum(size for sha256, size in contents.items() if users[sha256] == 1),
    )


def _contents(artifacts: Iterable[Artifact]) -> dict[str, int]:
    return {blob.sha256: blob.size for artifact in artifacts for blob in artifact.blobs}
