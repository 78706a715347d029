"""Keeping what a series' job makes: into the store while it goes on, so that a lost head loses
little.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from storyflow.errors import StoreError
from storyflow.events import PromptsWritten
from storyflow.jobs.series.kept import (
    Kept,
    KeptEpisode,
    KeptFilm,
    dailies_name,
    ledger_name,
    write_episode,
    write_kept,
)
from storyflow.jobs.series.submitting import root_of_series
from storyflow.jobs.series.ticket import SeriesTicket
from storyflow.lockfile import lock_path
from storyflow.poison import FAILED
from storyflow.series.orders import Grounds
from storyflow.series.told import (
    EpisodeEnded,
    EpisodeOutcome,
    EpisodeResult,
    EpisodeTold,
    SeriesBegan,
    SeriesEvent,
    SeriesResult,
    Tell,
)
from storyflow.store.hashing import file_hash
from storyflow.store.place import is_url
from storyflow.store.roots import add_root
from storyflow.store.store import Store

SETTLED: tuple[EpisodeOutcome, ...] = ("done", "complete", "partial", "broken")
"""How episodes end that another job like this one would not render."""


class Keeper:
    """Writes to the store in a thread of its own, one thing after the other.

    `bases` are the locks that were sent, by episode.
    """

    def __init__(
        self,
        store: Store,
        grounds: Grounds,
        ticket: SeriesTicket,
        kept: Kept,
        bases: dict[str, str],
    ) -> None:
        self.store, self.grounds, self.ticket, self.bases = store, grounds, ticket, bases
        self.kept = replace(kept, job=ticket.job, digest=ticket.digest, settled=False)
        self.files = {each.name: each.file for each in grounds.listed()}
        self.numbers = {each.name: number for number, each in enumerate(ticket.episodes)}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storyflow-keeper")
        self._waiting: list[Future[None]] = []

    @contextmanager
    def listening(self, tell: Tell) -> Iterator[Tell]:
        """A `tell` that hears what is to be kept; at the end all of it is. Raises StoreError."""

        def told(event: SeriesEvent) -> None:
            match event:
                case SeriesBegan(night=night):
                    self._later(lambda: self._begun(night))
                case EpisodeTold(episode=name, event=PromptsWritten()):
                    self._later(lambda: self._locks(name))
                case EpisodeEnded(result=result):
                    self._later(lambda: self._episode(result))
            tell(event)

        try:
            yield told
        finally:
            self._thread.shutdown()
        for each in self._waiting:
            each.result()

    def end(self, result: SeriesResult) -> None:
        """Keep how the job ended, its dailies and its ledger. Raises StoreError."""
        if result.outcome in ("busy", "closed"):
            return
        for page in sorted((self.grounds.folder / "dailies").glob("*")):
            if page.is_file() and page.name[0] != ".":
                self.store.place.put(dailies_name(self.ticket.claim, page.name), page.read_bytes())
        self._ledger()
        settled = result.exit_code != 5 and all(e.outcome in SETTLED for e in result.episodes)
        self.kept = replace(self.kept, outcome=result.outcome, night=result.night, settled=settled)
        write_kept(self.store, self.ticket.claim, self.kept)

    def _later(self, work: Callable[[], None]) -> None:
        self._waiting.append(self._thread.submit(work))

    def _begun(self, night: str) -> None:
        self.kept = replace(self.kept, night=night)

    def _episode(self, result: EpisodeResult) -> None:
        self._locks(result.name)
        if result.film is not None:
            self._film(result, result.film)
        self._ledger()

    def _locks(self, name: str) -> None:
        if name not in self.bases:
            return
        lock, failed = lock_path(self.files[name]), self.grounds.folder / name / FAILED
        episode = KeptEpisode(
            name=name,
            base=self.bases[name],
            lock=lock.read_text("utf-8"),
            failed=failed.read_text("utf-8") if failed.is_file() else "",
        )
        write_episode(self.store, self.ticket.claim, episode)

    def _film(self, result: EpisodeResult, film: Path) -> None:
        folder = film.parent
        files = {p.name: p for p in folder.iterdir() if p.is_file() and p.name[0] != "."}
        # Ids of jobs come again where a cluster is made anew, nonces don't.
        key = f"film-{self.ticket.job}-{self.ticket.nonce[:12]}-{self.numbers[result.name]}"
        made = self.store.commit(
            key=key,
            recipe=key,
            kind="film",
            digest=file_hash(film),
            inputs=json.dumps({"series": self.ticket.title, "episode": result.name}),
            files=files,
        )
        newest = KeptFilm(made.key, result.outcome == "complete", self.kept.night)
        self.kept = replace(self.kept, films={**self.kept.films, result.name: newest})
        add_root(self.store, root_of_series(self.ticket, self.kept))
        write_kept(self.store, self.ticket.claim, self.kept)

    def _ledger(self) -> None:
        if is_url(self.grounds.store) and self.grounds.ledger.is_file():
            name = ledger_name(self.ticket.claim)
            self.store.place.put(name, whole_copy(self.grounds.ledger))


def whole_copy(ledger: Path) -> bytes:
    """A database that may be written at the moment, as one file's bytes. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="storyflow-") as folder:
        copy = Path(folder) / "copy.sqlite"
        try:
            with (
                closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)) as here,
                closing(sqlite3.connect(copy)) as there,
            ):
                here.backup(there)
            return copy.read_bytes()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"can't copy the ledger {ledger} ({error})") from None
