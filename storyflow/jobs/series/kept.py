"""What the store keeps of a submitted series between its jobs, and for whoever fetches it.

series/CLAIM/state.json           how the last job ended, and which films there are
series/CLAIM/episodes/NAME.json   an episode's locks, as sent and as left, and what failed for good
series/CLAIM/dailies/FILE         pages of the last nights
series/CLAIM/ledger.sqlite        the ledger, where the store is a bucket

Only the job that holds the series' claim writes here.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from storyflow.errors import StoreError
from storyflow.lock import Lock
from storyflow.lockfile import read_lock
from storyflow.series.told import SeriesOutcome
from storyflow.store.store import Store

FORMAT = 1


@dataclass(frozen=True)
class KeptFilm:
    """An episode's newest film in the store: its artifact's key, and whether it is whole."""

    key: str
    complete: bool
    night: str


@dataclass(frozen=True)
class KeptEpisode:
    """What an episode's next rendering needs: texts of the lock that was sent and of the one that
    was left, and of the record of failures."""

    name: str
    base: str
    lock: str
    failed: str = ""


@dataclass(frozen=True)
class Kept:
    """How a series stands. `digest` is of what the job was sent with, `films` are by episode.

    `settled` where the last job left nothing that another one like it would render.
    """

    job: str = ""
    digest: str = ""
    outcome: SeriesOutcome | None = None
    night: str = ""
    settled: bool = False
    films: Mapping[str, KeptFilm] = field(default_factory=dict)


def read_kept(store: Store, claim: str) -> Kept:
    """How a series stands; nothing is known of a new one. Raises StoreError."""
    data = store.place.read(f"series/{claim}/state.json")
    if data is None:
        return Kept()
    try:
        fields = json.loads(data)
        if fields.pop("storyflow") == FORMAT:
            return _kept().validate_python(fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StoreError(
        f"series/{claim}/state.json in {store} can't be understood",
        cure="use the storyflow version that wrote it, or delete it",
    )


def write_kept(store: Store, claim: str, kept: Kept) -> None:
    """Write how a series stands, in place of what was there. Raises StoreError."""
    text = json.dumps({"storyflow": FORMAT, **asdict(kept)}, indent=1, ensure_ascii=False)
    store.place.put(f"series/{claim}/state.json", f"{text}\n".encode())


def read_episodes(store: Store, claim: str, names: Iterable[str]) -> Mapping[str, KeptEpisode]:
    """What is kept of these episodes, by name. Raises StoreError."""
    places = {_episode(claim, name): name for name in names}
    found = {}
    for place, data in store.place.read_many(list(places)).items():
        found[places[place]] = TypeAdapter(KeptEpisode).validate_json(data)
    return found


def write_episode(store: Store, claim: str, episode: KeptEpisode) -> None:
    """Keep an episode's locks and failures. Raises StoreError."""
    data = json.dumps(asdict(episode), ensure_ascii=False).encode()
    store.place.put(_episode(claim, episode.name), data)


def lock_of(text: str) -> Lock:
    """The lock of a lock file's text."""
    with tempfile.TemporaryDirectory(prefix="storyflow-") as folder:
        path = Path(folder) / "kept.lock.yaml"
        path.write_text(text, encoding="utf-8")
        return read_lock(path)


def dailies_name(claim: str, file: str = "") -> str:
    """The object of a file of the dailies, or what comes before all of them."""
    return f"series/{claim}/dailies/{file}"


def ledger_name(claim: str) -> str:
    """The object of the ledger."""
    return f"series/{claim}/ledger.sqlite"


def _episode(claim: str, name: str) -> str:
    # Episodes are called like files, in whatever script.
    return f"series/{claim}/episodes/{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


@cache
def _kept() -> TypeAdapter[Kept]:
    return TypeAdapter(Kept)
