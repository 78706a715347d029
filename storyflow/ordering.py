"""From options to an order: what is to be rendered, read, checked and within its limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from storyflow.asked import Asked, asked_for
from storyflow.beforehand import estimate_of, look_ahead
from storyflow.budget import Budget
from storyflow.cluster import Cluster, load_cluster
from storyflow.cutlist import cut_path, read_cut
from storyflow.cutting.deliverable import refuse_delivery
from storyflow.documents import did_you_mean
from storyflow.errors import InputError, ProfileError, StoreError
from storyflow.film import Order, Production, prepare
from storyflow.kinds import kind_of
from storyflow.lock import Lock
from storyflow.lockfile import lock_path, write_lock
from storyflow.pipeline import load_profile
from storyflow.planning.nodes import Plan
from storyflow.record import read_record
from storyflow.series.load import (
    Listed,
    episode_at,
    episode_film,
    heir,
    load_series,
    pipeline_of,
)
from storyflow.series.model import DEFAULT_PIPELINE, Series
from storyflow.series.places import cluster_named, films_of, store_of
from storyflow.settings import find_named, locate
from storyflow.storyboard.load import Inherit, load
from storyflow.storyboard.model import Film

Storyboard = Film | str | Path


class Options(TypedDict, total=False):
    """What every verb that plans or renders takes besides the film.

    `pipeline` and `cluster` are shipped names or files, `settings` are `section.field=value`
    texts, `out` is the film's folder. `store`, `address`, `workers` and `priority` (what the run
    counts on a busy cluster) override the cluster file. `shots` limits rendering to these and what
    they continue, `allow_outside` lets references lead out of the storyboard's folder.
    `max_gpu_hours`, `max_cost` and `max_gpus` limit what a render may use, `one_class` holds it to
    one numerics class. Without `edit` the film follows its storyboard also where a cut list lies
    beside it. `series` is the series file that the film is an episode of: it inherits that bible,
    and what isn't said here is as there. Where a `pipeline` is named, the series' settings and
    films' folder are left out with its own.
    """

    pipeline: str | Path | None
    cluster: str | Path | Cluster | None
    settings: Sequence[str]
    out: str | Path | None
    store: str | Path | None
    shots: Iterable[str] | None
    address: str | None
    workers: int | None
    priority: float | None
    allow_outside: bool
    max_gpu_hours: float | None
    max_cost: float | None
    max_gpus: int | None
    one_class: bool
    edit: bool
    series: str | Path | None


def order(
    film: Storyboard,
    *,
    pipeline: str | Path | None = None,
    cluster: str | Path | Cluster | None = None,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    store: str | Path | None = None,
    shots: Iterable[str] | None = None,
    address: str | None = None,
    workers: int | None = None,
    priority: float | None = None,
    allow_outside: bool = False,
    max_gpu_hours: float | None = None,
    max_cost: float | None = None,
    max_gpus: int | None = None,
    one_class: bool = False,
    edit: bool = True,
    series: str | Path | None = None,
) -> Order:
    """All that a render needs, read and checked; see Options. Raises InputError; writes nothing."""
    whole, episode = _episode(film, series)
    if whole is None or episode is None:
        film = read_film(film, allow_outside=allow_outside)
    else:
        film = episode_film(whole, episode, allow_outside=allow_outside)
        if pipeline is None:
            pipeline, own = pipeline_of(whole, episode)
            settings = (*own, *settings)
            out = films_of(whole) / episode.name if out is None else out
        cluster = cluster or cluster_named(whole)
    pipeline, cluster = pipeline or DEFAULT_PIPELINE, cluster or "local"
    name, profile = load_profile(pipeline, settings)
    given = cluster
    overrides = [f"address={address}"] if address is not None else []
    overrides += worker_overrides(workers, priority)
    if isinstance(cluster, Cluster):
        if overrides:
            raise InputError(
                "address, workers and priority stand in the Cluster that was given",
                cure="change them there",
            )
    else:
        cluster = load_cluster(cluster, overrides)
    if whole is not None and store is None:
        store = store_of(whole, cluster.store)
    file = film.origin.file
    folder = Path(out) if out is not None else Path("renders") / (_stem(file) or _slug(film.film))
    try:
        kind = kind_of(profile, threads=cluster.workers.threads)
    except ProfileError as error:
        place = find_named(pipeline, "pipelines", "pipeline")
        raise ProfileError(locate(error.problems, place, settings)) from None
    return Order(
        film=film,
        pipeline=name,
        profile=profile,
        kind=kind,
        cluster=cluster,
        folder=folder,
        store=str(store if store is not None else cluster.store),
        lock_file=lock_path(Path(file)) if file else folder / "film.lock.yaml",
        shots=None if shots is None else frozenset(shots),
        allow_outside=allow_outside,
        budget=Budget(max_gpu_hours, max_cost, max_gpus, cluster.price, cluster.currency),
        one_class=one_class,
        cut=read_cut(cut_path(Path(file))) if file and edit else None,
        asked=asked_for(file, pipeline, settings, given, store, series),
    )


def asked_again(film: Storyboard, options: Options) -> tuple[Storyboard, Options]:
    """A film's folder as the storyboard and the options that it was last made from.

    What `options` say counts instead; settings come after the earlier ones. Anything else than a
    folder is handed back as it is. Raises InputError for a folder without a film.
    """
    if isinstance(film, Film) or not Path(film).is_dir():
        return film, options
    folder = Path(film)
    record = read_record(folder)
    asked = None if record is None else record.asked
    if asked is None:
        raise InputError(f"{folder} doesn't tell what it was made from", cure="name the storyboard")
    return asked.storyboard, asked_with(asked, Options(out=folder) | options)


def asked_with(asked: Asked, options: Options) -> Options:
    """The options that a film was asked for with, but for what `options` say."""
    again = Options(pipeline=asked.pipeline)
    if asked.cluster is not None:
        again["cluster"] = asked.cluster
    if asked.store is not None:
        again["store"] = asked.store
    if asked.series is not None:
        again["series"] = asked.series
    again.update(options)
    again["settings"] = (*asked.settings, *options.get("settings", ()))
    return again


def known_shots(what: Order, planned: Plan) -> None:
    """Raise InputError where the order names a shot that the plan has not."""
    ids = [entry.shot for entry in planned.cut]
    for shot in sorted(what.shots or ()):
        if shot not in ids and what.cut is not None:
            raise InputError(
                f"the cut list {what.cut.file} has no shot {shot!r}",
                cure=f"{did_you_mean(shot, ids)} or use --no-edit, which follows the storyboard",
            )
        if shot not in ids:
            raise InputError(f"the film has no shot {shot!r}", cure=did_you_mean(shot, ids))


def accept(what: Order) -> Production:
    """Plan an order as a render does, with what it would cost.

    Raises InputError for what can't be rendered at all, BudgetError for what may not.
    """
    made = prepare(what)
    known_shots(what, made.plan)
    refuse_delivery(made.plan, what.profile.deliver)
    return _estimated(what, made)


def _estimated(what: Order, made: Production) -> Production:
    """With what the order would cost. Raises BudgetError where that is more than is allowed."""
    try:
        store = what.open_store()
        estimate = estimate_of(look_ahead(what, made, store))
    except StoreError:
        return made  # the run tells it, with what else it finds
    what.budget.refuse(estimate.gpu_seconds, f"the plan (estimated from {estimate.source})")
    return replace(made, estimate=estimate)


def worker_overrides(workers: int | None, priority: float | None) -> list[str]:
    """What these say instead of the cluster file, as `section.field=value`."""
    given = {"count": workers, "weight": priority}
    return [f"workers.{name}={value}" for name, value in given.items() if value is not None]


def read_film(
    film: Storyboard, *, allow_outside: bool = False, series: str | Path | None = None
) -> Film:
    """The film itself, where a path was given, with what it inherits from its series.

    Raises StoryboardError, InputError for a film that is no episode of the series.
    """
    if isinstance(film, Film):
        return film
    whole, episode = _episode(film, series)
    if whole is None or episode is None:
        return load(film, allow_outside=allow_outside)
    return episode_film(whole, episode, allow_outside=allow_outside)


def inheritance(film: Storyboard, series: str | Path | None) -> Inherit:
    """What a storyboard gets from its series, where one is named. Raises StoryboardError for that,
    InputError for a film that is no episode of it."""
    whole, episode = _episode(film, series)
    if whole is None or episode is None:
        return lambda film: film
    return heir(whole, episode)


def _episode(
    film: Storyboard, series: str | Path | None
) -> tuple[Series, Listed] | tuple[None, None]:
    """The series that a storyboard's file belongs to, where one is named, and which it is."""
    if series is None or isinstance(film, Film):
        return None, None
    whole = load_series(series)
    return whole, episode_at(whole, film)


def _stem(file: str | None) -> str:
    return Path(file).stem if file else ""


def _slug(title: str) -> str:
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-")[:80] or "film"


def save_lock(what: Order, lock: Lock) -> None:
    """Write an order's lock where it belongs. Raises InfrastructureError."""
    what.lock_file.parent.mkdir(parents=True, exist_ok=True)
    write_lock(what.lock_file, lock)
