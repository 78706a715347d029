"""Make one stored artifact again from its stored inputs, and compare.

Everything comes from the store: embeddings, history, pictures and clips, the profile as recorded.
They are copied into a store of their own in a temporary folder, and the same worker that a film
has makes the artifact there, so nothing of the film's store is touched. Within one numerics class
the bytes must be equal; between classes the result says how far apart they are.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyflow.errors import InputError, StoreError
from storyflow.pipeline import Profile
from storyflow.planning.keys import PIXEL_VERSION
from storyflow.renderer import ModelKind, SegmentSpec
from storyflow.store.artifacts import EMBEDDING, FRAMES, Artifact, Origin
from storyflow.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from storyflow.farm.jobs import Job

SHORTEST_KEY = 4
"""Letters of a key that are enough, if no other key begins with them."""


@dataclass(frozen=True)
class Distance:
    """How far apart two outputs are.

    `count` values were compared: frames of a segment, tokens of an embedding; `differing` of them
    differ, `first` is the first that does. `greatest` and `mean` are absolute differences, of
    frames in steps of 0 to 255, over all numbers. `psnr` is in dB over all frames, None for
    embeddings and where nothing differs.
    """

    count: int
    differing: int = 0
    first: int | None = None
    greatest: float = 0.0
    mean: float = 0.0
    psnr: float | None = None


@dataclass(frozen=True)
class Replay:
    """An artifact beside what its inputs come to now.

    `same` says that all frames (or numbers) are equal, and all latents. `then` and `now` are the
    numerics classes, `seconds` what each took. `notes` are lines about what may differ for a
    reason.
    """

    key: str
    name: str
    kind: str
    same: bool
    distance: Distance
    latents_same: bool | None
    then: str
    now: str
    seconds_then: float
    seconds_now: float
    notes: tuple[str, ...] = ()

    def as_data(self) -> dict[str, object]:
        """The same as values for JSON."""
        return {"storyflow": 1, **asdict(self)}


def replay_artifact(
    store: Store, key: str, kind: Callable[[Profile, int], ModelKind] | None = None
) -> Replay:
    """Make the artifact of a key (or of its first letters) again and compare.

    `kind` makes the model kind from profile and threads; None is storyflow's own list. Raises
    InputError: no such key, an artifact that can't be made again, another model than then;
    StoreError: an input that is no longer there; SegmentError and ModelError as a render.
    """
    from storyflow.farm.jobs import WorkerConfig
    from storyflow.farm.workers import make_worker

    old = _find(store, key)
    origin = old.origin
    if origin is None:
        raise InputError(
            f"{old.kind} {old.key} does not say what it was made from",
            cure="an author's file is read, not rendered: replay a segment that uses it"
            if old.kind == "media"
            else "it is older than that; render it into another store to compare",
        )
    profile = Profile.model_validate_json(origin.profile)
    profile = profile.model_copy(update={"slate": type(profile.slate)()})  # no scripted failures
    with tempfile.TemporaryDirectory(prefix="storyflow-replay-") as folder:
        config = WorkerConfig(profile, folder, origin.threads, kind)
        notes = _check_model(old, config.model_kind())
        aside = Store(folder)
        for needed in _needed(origin):
            _copy(store, aside, needed)
        worker = make_worker(
            "prompt" if old.kind == "prompt" else "segment", config, "replay", own_process=False
        )
        try:
            numerics = worker.setup()
            new = worker.run(_job(old, origin), 1).artifact
        finally:
            worker.close()
        distance = _distance(store, old, aside, new)
    latents = None if not old.latents else old.latents == new.latents
    same = old.digest == new.digest and latents is not False
    if not same and numerics == old.numerics:
        notes = (*notes, "one numerics class must give equal bytes: please report this")
    return Replay(
        key=old.key,
        name=origin.name,
        kind=old.kind,
        same=same,
        distance=distance,
        latents_same=latents,
        then=old.numerics,
        now=numerics,
        seconds_then=old.seconds,
        seconds_now=new.seconds,
        notes=notes,
    )


def _find(store: Store, key: str) -> Artifact:
    found = store.find(key) if len(key) >= SHORTEST_KEY else None
    if found is None:
        keys = {k for keys in store.recipes().values() for k in keys if k.startswith(key)}
        if len(keys) > 1:
            raise InputError(
                f"{len(keys)} keys in {store} begin with {key}", cure="give more letters"
            )
        found = store.find(keys.pop()) if keys else None
    if found is None:
        raise InputError(
            f"the store {store} has no artifact {key}",
            cure="film.json beside the film lists the key of every segment",
        )
    return found


def _check_model(old: Artifact, kind: ModelKind) -> tuple[str, ...]:
    """Notes about what changed since; raises InputError for another model or other settings."""
    told: Mapping[str, Any] = json.loads(old.inputs)
    if old.kind == "prompt":
        if told["encoder"] != kind.encoder:
            raise InputError(
                f"{old.key} was encoded by {told['encoder']}, the profile now means {kind.encoder}",
                cure="bring the weights back that it was made with",
            )
        return ()
    if told["model"] != kind.identity:
        raise InputError(
            f"{old.key} was rendered by {told['model']}, the profile now means {kind.identity}",
            cure="bring the weights back that it was made with",
        )
    now = json.loads(json.dumps(dict(kind.pixel_fields)))
    if told["fields"] != now:
        names = [n for n in {**told["fields"], **now} if told["fields"].get(n) != now.get(n)]
        raise InputError(
            f"this version of storyflow renders {old.key} with other settings: {', '.join(names)}",
            cure="replay it with the version that rendered it",
        )
    if told["pixels"] != PIXEL_VERSION:
        return (f"pixel version {told['pixels']} then, {PIXEL_VERSION} now",)
    return ()


def _needed(origin: Origin) -> Iterator[str]:
    named = (origin.prompt, origin.negative, origin.start, origin.end, origin.clip)
    yield from dict.fromkeys(key for key in named if key is not None)
    yield from dict.fromkeys(span.key for span in origin.history)


def _copy(store: Store, aside: Store, key: str) -> None:
    artifact = store.find(key)
    if artifact is None:
        raise StoreError(
            f"an input, {key}, is no longer in {store}", cure="render the film again first"
        )
    aside.commit(
        key=artifact.key,
        recipe=artifact.recipe,
        kind=artifact.kind,
        digest=artifact.digest,
        inputs=artifact.inputs,
        files={blob.name: store.path(artifact, blob.name) for blob in artifact.blobs},
        frames=artifact.frames,
        latents=artifact.latents,
    )


def _job(old: Artifact, origin: Origin) -> Job:
    from storyflow.farm.jobs import PromptJob, SegmentJob

    told: Mapping[str, Any] = json.loads(old.inputs)
    if old.kind == "prompt":
        return PromptJob("replay", old.key, told["text"], old.inputs)
    sizes = {name: told[name] for name in ("width", "height", "window", "overlap", "seed")}
    return SegmentJob(
        name="replay",
        key=old.key,
        recipe=old.recipe,
        spec=SegmentSpec(**sizes, label=told["label"]),
        fps=Fraction(origin.fps),
        inputs=old.inputs,
        prompt_key=origin.prompt,
        negative_key=origin.negative,
        history=origin.history,
        start_key=origin.start,
        end_key=origin.end,
        clip_key=origin.clip,
        keeps_latents=bool(old.latents),
    )


def _distance(store: Store, old: Artifact, aside: Store, new: Artifact) -> Distance:
    if old.kind == "prompt":
        return _between_embeddings(
            store.path(old, EMBEDDING), aside.path(new, EMBEDDING), old.digest == new.digest
        )
    pairs = enumerate(zip(old.frames, new.frames, strict=True))
    differing = [index for index, (then, now) in pairs if then != now]
    if not differing:
        return Distance(len(old.frames))
    return _between_frames(store.path(old, FRAMES), aside.path(new, FRAMES), differing)


def _between_frames(then: Path, now: Path, differing: list[int]) -> Distance:
    """Frame by frame, so that memory stays flat."""
    import numpy as np

    from storyflow.store.clip import iter_clip

    greatest, total, squares, numbers, count = 0.0, 0.0, 0.0, 0, 0
    for before, after in zip(iter_clip(then), iter_clip(now), strict=True):
        apart = np.abs(before.astype(np.int32) - after.astype(np.int32))
        greatest = max(greatest, float(apart.max()))
        total += float(apart.sum())
        squares += float((apart * apart).sum())
        numbers += apart.size
        count += 1
    psnr = 10 * math.log10(255**2 * numbers / squares)
    return Distance(count, len(differing), differing[0], greatest, total / numbers, psnr)


def _between_embeddings(then: Path, now: Path, same: bool) -> Distance:
    import numpy as np

    from storyflow.store.tensors import load_tensor

    before, after = load_tensor(then), load_tensor(now)
    if same:
        return Distance(len(before))
    if before.shape != after.shape:
        return Distance(len(before), len(before), 0, math.inf, math.inf)
    apart: NDArray[np.float32] = np.abs(before - after)
    rows = np.flatnonzero(apart.max(axis=1))
    return Distance(len(before), len(rows), int(rows[0]), float(apart.max()), float(apart.mean()))
