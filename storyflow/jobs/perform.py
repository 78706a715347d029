"""The cluster's side: what the submitted command does on the head of the cluster.

It runs in the folder that was sent. What it writes goes into a folder of its own there, so that
two attempts that were sent the same files don't meet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from storyflow import api, ordering
from storyflow.cluster import load_cluster
from storyflow.cutlist import cut_path
from storyflow.doctor.beforehand import examine_before, refusal
from storyflow.errors import FarmError
from storyflow.events import Result
from storyflow.film import Order, prepare
from storyflow.jobs import references
from storyflow.jobs.identity import plan_id
from storyflow.jobs.results import publish
from storyflow.jobs.rooting import root_of_job
from storyflow.jobs.ticket import CLUSTER, Ticket, read_ticket
from storyflow.lockfile import lock_path, read_lock
from storyflow.poison import FAILED
from storyflow.run import Run
from storyflow.store.roots import add_root
from storyflow.store.store import Store
from storyflow.storyboard.model import Film


@dataclass(frozen=True)
class Performance:
    """A job that may be rendered here: everything about it has been checked.

    `sent` is the lock that came with it, untouched.
    """

    ticket: Ticket
    film: Path
    options: ordering.Options
    placed: Mapping[str, Path]
    folder: Path
    sent: Path

    def examine(self, tell: Callable[[str], None]) -> None:
        """Look at every node, unless the submitter does without; `tell` hears what may go wrong.

        Raises FarmError for what would keep the film from being rendered.
        """
        if not self.ticket.doctor:
            return
        order = self.order()
        for diagnosis in examine_before(order.cluster, order.store, [order.profile]):
            for finding in diagnosis.warnings:
                tell(str(finding))
            if (error := refusal(diagnosis)) is not None:
                raise error

    def start(self) -> Run:
        """Begin to render."""
        return api.start(self._film(), **self.options)

    def publish(self, result: Result) -> bool:
        """Store what was made, to be fetched; False where there is nothing. Raises StoreError."""
        order = self.order()
        store, lock = order.open_store(), order.lock_file
        if publish(store, self.ticket.job, result, lock, self.sent) is None:
            return False
        add_root(store, root_of_job(self.ticket, result.title, read_lock(lock), finished=True))
        return True

    def clear(self) -> None:
        """Remove the job's folder, once the film is in the store."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def order(self) -> Order:
        """The order that is rendered."""
        return ordering.order(self._film(), **self.options)

    def _film(self) -> Film:
        film = api.load(self.film)
        film.came_from(replace(film.origin, placed=self.placed))
        return film


def open_job(path: Path) -> Performance:
    """Check a ticket against this machine, and bring the author's files out of the store.

    Raises FarmError where storyflow is of another version than the submitter's, the store is
    another one, or the film is planned differently here; StoreError.
    """
    ticket = read_ticket(path, Ticket)
    _same_version(ticket)
    package = path.absolute().parent
    folder = package / ticket.job
    cluster = load_cluster(package / CLUSTER)
    store = Store(cluster.store, cluster.cache.limit)
    _same_store(ticket, store)
    placed = references.place(store, ticket.references, folder / "references")
    film = folder / ticket.storyboard
    film.parent.mkdir(parents=True, exist_ok=True)
    sent = lock_path(package / ticket.storyboard)
    shutil.copyfile(package / ticket.storyboard, film)
    shutil.copyfile(sent, lock_path(film))
    if (edit := cut_path(package / ticket.storyboard)).is_file():
        shutil.copyfile(edit, cut_path(film))
    out = folder / "out"
    if (package / FAILED).is_file():
        out.mkdir(exist_ok=True)
        shutil.copyfile(package / FAILED, out / FAILED)
    options = ordering.Options(
        pipeline=package / ticket.profile,
        cluster=cluster,
        out=out,
        store=cluster.store,
        shots=ticket.shots,
        max_gpu_hours=ticket.max_gpu_hours,
        max_cost=ticket.max_cost,
        max_gpus=ticket.max_gpus,
        one_class=ticket.one_class,
    )
    performance = Performance(ticket, film, options, placed, folder, sent)
    _same_plan(ticket, performance.order())
    return performance


def _same_version(ticket: Ticket) -> None:
    here = version("storyflow")
    if ticket.version != here:
        raise FarmError(
            f"the film was submitted by storyflow {ticket.version}, the cluster has {here}",
            cure="install the same version on both sides",
        )


def _same_store(ticket: Ticket, store: Store) -> None:
    """Raise FarmError unless the submitter wrote into this very store a moment ago."""
    found = store.find(ticket.token)
    if found is None or Ticket.model_validate_json(found.inputs).nonce != ticket.nonce:
        raise FarmError(
            f"the store {store} on {os.uname().nodename} is not the one that the film was "
            "submitted from",
            cure="name a folder that both machines see as the same, or a URL, with --store",
        )


def _same_plan(ticket: Ticket, order: Order) -> None:
    made = prepare(order)
    here = plan_id(made.plan, order.profile.deliver, order.shots)
    if here != ticket.plan:
        raise FarmError(
            f"the cluster plans another film ({here}) than the submitter did ({ticket.plan})",
            cure="use the same model files and the same storyflow on both sides",
        )
