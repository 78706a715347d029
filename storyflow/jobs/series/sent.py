"""The grounds of a series that was submitted: its episodes, profiles and pictures are the bundle's.

The series file is the author's, word for word; where it names files, the ticket says which of the
bundle's they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from storyflow.cluster import Cluster
from storyflow.errors import InputError
from storyflow.jobs.series.kept import Kept
from storyflow.jobs.series.ticket import SentEpisode, SeriesTicket
from storyflow.series.load import Listed, heir, load_series
from storyflow.series.model import Series
from storyflow.series.orders import Grounds, Where
from storyflow.store.place import is_url
from storyflow.storyboard.load import load
from storyflow.storyboard.model import Film

LEDGER = "ledger.sqlite"


class SentGrounds(Grounds):
    """Grounds in the folder that the bundle was unpacked into.

    `placed` are the files of each episode, by its name and theirs, `cast` those of the series.
    Films go into `out` below; the ledger lies beside the store or, where that is a bucket, there,
    too.
    """

    def __init__(
        self,
        folder: Path,
        ticket: SeriesTicket,
        cluster: Cluster,
        kept: Kept,
        cast: Mapping[str, Path],
        placed: Mapping[str, Mapping[str, Path]],
    ) -> None:
        self.command = ticket.command
        self._bundle, self._kept, self._placed = folder, kept, placed
        self._sent = {each.name: each for each in ticket.episodes}
        series = load_series(folder / ticket.series)
        _place(series, cast)
        where = Where(cluster=cluster, store=cluster.store, out=folder / "out")
        super().__init__(series, where)

    def listed(self) -> tuple[Listed, ...]:
        """The episodes that were listed where the series was submitted."""
        wishes = self.series.episodes
        return tuple(
            Listed(each.name, self._storyboard(each), number, wishes[each.entry])
            for number, each in enumerate(self._sent.values())
        )

    def film(self, episode: Listed) -> Film:
        """An episode's film. Raises InputError for one that was broken where it was submitted."""
        broken = self._sent[episode.name].broken
        if broken:
            raise InputError(broken)
        # Whether it may lie where it does was asked where the series was submitted.
        film = load(episode.file, inherit=heir(self.series, episode))
        film.came_from(replace(film.origin, placed=self._placed[episode.name]))
        return film

    def pipeline(self, episode: Listed) -> tuple[str, tuple[str, ...]]:
        """The profile that was sent, which has all settings."""
        return str(self._bundle / self._sent[episode.name].profile), ()

    def has_film(self, episode: str, folder: Path) -> bool:
        """Also where it lies in the store."""
        kept = self._kept.films.get(episode)
        return super().has_film(episode, folder) or (kept is not None and kept.complete)

    def _storyboard(self, each: SentEpisode) -> Path:
        return self._bundle / each.storyboard if each.storyboard else Path(each.file)

    def _ledger(self) -> Path:
        if is_url(self.store):
            return self.folder / LEDGER
        store = Path(self.store)
        return store.with_name(f"{store.name}.ledger.sqlite")


def _place(series: Series, cast: Mapping[str, Path]) -> None:
    """Let every character's picture be found where it was placed."""
    for part in (series.bible, *series.episodes):
        for member in part.cast.values():
            member.came_from(replace(member.origin, placed=cast))
