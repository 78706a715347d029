"""From an episode to an order: where its film, store and cluster are, and what it may use."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from storyflow.budget import Budget
from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import InputError
from storyflow.film import Order, Production
from storyflow.ordering import order, worker_overrides
from storyflow.series.load import (
    Listed,
    episode_film,
    episodes_of,
    from_folder,
    load_series,
    pipeline_of,
)
from storyflow.series.model import Amount, Series
from storyflow.series.places import cluster_named, films_of, store_of
from storyflow.storyboard.model import Film


class Where(TypedDict, total=False):
    """What overrides a series' rules, its cluster file and its profiles.

    `out` is the folder of all its films; `settings` come after the series' own.
    """

    cluster: str | Path | Cluster | None
    store: str | Path | None
    out: str | Path | None
    address: str | None
    workers: int | None
    settings: tuple[str, ...]
    allow_outside: bool


class Grounds:
    """Where a series is rendered: its cluster, store, folder and ledger.

    `command` is what an author calls to go on, where that is not a verb on this machine.

    Raises ProfileError for a cluster file that can't be used.
    """

    command: tuple[str, ...] = ()

    def __init__(self, series: Series | str | Path, where: Where | None = None) -> None:
        self.series = series if isinstance(series, Series) else load_series(series)
        self.where: Where = where or {}
        self.cluster = self._cluster()
        given = self.where.get("store")
        named = str(given) if given is not None else None
        self.store = named or store_of(self.series, self.cluster.store)
        out = self.where.get("out")
        self.folder = films_of(self.series) if out is None else Path(out)
        self.ledger = self._ledger()

    def listed(self) -> tuple[Listed, ...]:
        """Every episode, in order. Raises StoryboardError."""
        return episodes_of(self.series)

    def has_film(self, episode: str, folder: Path) -> bool:
        """Whether the film that the ledger has as complete is there still."""
        return (folder / "film.mp4").is_file()

    def order(self, episode: Listed) -> Order:
        """What to render of an episode. Raises InputError: its storyboard, profile or cluster."""
        series = self.series
        pipeline, settings = self.pipeline(episode)
        allow = self.where.get("allow_outside", False)
        made = order(
            self.film(episode),
            pipeline=pipeline,
            cluster=self.cluster,
            settings=(*settings, *self.where.get("settings", ())),
            out=self.folder / episode.name,
            store=self.store,
            allow_outside=allow,
            series=series.origin.file,
        )
        return replace(made, budget=self.limit(self._amount(episode)))

    def film(self, episode: Listed) -> Film:
        """An episode's film, with what it inherits. Raises StoryboardError."""
        allow = self.where.get("allow_outside", False)
        return episode_film(self.series, episode, allow_outside=allow)

    def pipeline(self, episode: Listed) -> tuple[str, tuple[str, ...]]:
        """The pipeline profile of an episode, and the settings that override it."""
        return pipeline_of(self.series, episode)

    def limit(self, amount: Amount | None) -> Budget:
        """A limit of the series, at the cluster's price. Raises InputError for money without."""
        price, currency = self.cluster.price, self.cluster.currency
        if amount is None:
            return Budget(price=price, currency=currency)
        if amount.money is not None and price is None:
            where = amount.origin.file or self.series.origin.file or "the series"
            raise InputError(
                f"{where}: a budget of {amount.money:g} in money can't be held without a price",
                cure="give the cluster file the price of a GPU-hour, as 'price:'",
            )
        return Budget(amount.gpu_hours, amount.money, price=price, currency=currency)

    @property
    def night(self) -> Budget:
        """What a night may use. Raises InputError."""
        rules = self.series.rules.budget
        return self.limit(None if rules is None else rules.night)

    @property
    def claim(self) -> str:
        """The name under which a store knows that this series is being rendered."""
        return f"series-{hashlib.sha256(self.series.series.encode()).hexdigest()[:32]}"

    def _amount(self, episode: Listed) -> Amount | None:
        rules = self.series.rules.budget
        return episode.wishes.budget or (None if rules is None else rules.episode)

    def _cluster(self) -> Cluster:
        where, named = self.where, self.where.get("cluster")
        if isinstance(named, Cluster):
            return named
        overrides = worker_overrides(where.get("workers"), None)
        if (address := where.get("address")) is not None:
            overrides.append(f"address={address}")
        return load_cluster(named or cluster_named(self.series), overrides)

    def _ledger(self) -> Path:
        rules = self.series.rules
        if rules.ledger is not None:
            return Path(from_folder(self.series, rules.ledger))
        if "://" in self.store:
            return self.folder / "ledger.sqlite"
        store = Path(self.store)
        return store.with_name(f"{store.name}.ledger.sqlite")


def fingerprint(made: Production, what: Order) -> str:
    """What decides a finished film: as long as it stays the same there is nothing to cut anew."""
    plan = made.plan
    parts = (
        plan.title,
        plan.pipeline,
        plan.fps,
        plan.rate,
        plan.size,
        plan.scenes,
        plan.about,
        plan.cut,
        sorted(segment.key or segment.recipe for segment in plan.segments),
        what.profile.deliver,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()
