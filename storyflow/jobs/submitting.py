"""Submitting: plan here, put what is large into the store, send the rest, begin.

Idempotent: the same film, planned to the same frames, is one job however often it is submitted.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Unpack

from storyflow import ordering
from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import FarmError, InputError
from storyflow.film import Order, Production
from storyflow.jobs import references
from storyflow.jobs.elsewhere import sender, unattended, with_folders
from storyflow.jobs.failures import absorb, known
from storyflow.jobs.find import job_address
from storyflow.jobs.follow import until_ended
from storyflow.jobs.identity import film_name, job_id, plan_id
from storyflow.jobs.labels import FILM, Labels
from storyflow.jobs.record import remember
from storyflow.jobs.results import film_key, published
from storyflow.jobs.rooting import root_of_job
from storyflow.jobs.server import JobExists, JobServer, ServerJob, connect
from storyflow.jobs.ticket import TICKET, Package, Reference, Ticket, write_package
from storyflow.jobs.values import JobHandle
from storyflow.store.roots import add_root
from storyflow.store.store import Store
from storyflow.storyboard.dump import dump
from storyflow.wording import write_needed

GRACE_SECONDS = 30
"""Between the signal that stops a job and the one that kills it, unless said otherwise."""

_WHERE = ("address", "cluster", "workers", "priority")
"""The options that say where, not what."""

TRIES = 5
"""How often to look again when others submit the same film at the same time."""


def submit(
    film: ordering.Storyboard,
    *,
    name: str | None = None,
    replace_running: bool = False,
    grace: int = GRACE_SECONDS,
    doctor: bool = True,
    **options: Unpack[ordering.Options],
) -> JobHandle:
    """Begin to render a film on a cluster, or find the attempt that does so or did so already.

    `address` (or the cluster file's `jobs`, or RAY_API_SERVER_ADDRESS) is the URL of the job API.
    The store must be seen by this machine and the cluster alike. Pictures and clips are stored by
    their hash first, whatever their size. The lock beside the storyboard is pinned and sent along,
    with the prompts that a server writes; a model on the cluster writes its own there.

    `name` is the film's name on the cluster (without: its file's). Where the film runs there with
    another plan, `replace_running` stops that first. A cancelled job has `grace` seconds to end.
    Without `doctor` the job renders without having examined the cluster.

    Raises InputError for a film that can't be planned, one that runs with another plan, or an
    episode, which is submitted with its series,
    BudgetError for one that is estimated to take more than it may, StoreError for a store that
    can't be written, FarmError when the cluster can't be had.
    """
    if options.get("series") is not None:
        raise InputError(
            "an episode is not submitted by itself", cure="use `storyflow series submit SERIES`"
        )
    address, cluster = _where(options)
    planning = {k: v for k, v in options.items() if k not in _WHERE}
    what = unattended(ordering.order(film, cluster=cluster, **planning))  # type: ignore[arg-type]
    made = ordering.accept(what)
    if what.profile.prompts.enhancer != "vllm" and write_needed(what, made.plan, lambda _: None):
        made = ordering.accept(what)  # the key to a server is here, not on the cluster
    called = film_name(what.film, name)
    plan = plan_id(made.plan, what.profile.deliver, what.shots)
    file = what.film.origin.file
    store = what.open_store()
    wanted = JobHandle(
        id="",
        film=called,
        plan=plan,
        attempt=0,
        address=address,
        store=store.location,
        folder=what.folder,
        storyboard=Path(file) if file else None,
    )
    server = connect(address)
    for _ in range(TRIES):
        found = [job for job in server.list() if job.labels.get(FILM) == called]
        made_before = _made_before(store, wanted)
        handle = _standing(wanted, found, store, made_before)
        if handle is None:
            for before in made_before:
                absorb(store, replace(wanted, id=job_id(called, plan, before)))
            _make_way(server, wanted, found, replace_running=replace_running)
            attempt = 1 + max([*made_before, *_attempts(wanted, found)], default=0)
            id = job_id(called, plan, attempt)
            handle = replace(wanted, id=id, attempt=attempt, submitted=True)
            try:
                _send(server, store, handle, what, made, grace, doctor)
            except JobExists:
                continue  # somebody submitted the same a moment ago: that one is found now
        remember(handle)
        return handle
    raise FarmError(
        f"the cluster has used the id {id}, but knows no such job",
        cure="give the film another name with --name",
    )


def _where(options: ordering.Options) -> tuple[str, Cluster]:
    """The job API's URL and the cluster file. Raises InputError without an address."""
    cluster = options.get("cluster") or "local"
    if not isinstance(cluster, Cluster):
        overrides = ordering.worker_overrides(options.get("workers"), options.get("priority"))
        cluster = load_cluster(cluster, overrides)
    elif options.get("workers") is not None or options.get("priority") is not None:
        what = "workers and priority stand in the Cluster that was given"
        raise InputError(what, cure="change them there")
    return job_address(options.get("address"), cluster), cluster


def _standing(
    wanted: JobHandle, found: Iterable[ServerJob], store: Store, made_before: Iterable[int]
) -> JobHandle | None:
    """The attempt of this plan that lives, or else one whose whole film is in the store."""
    for job in found:
        labels = Labels.read(job)
        if labels.plan == wanted.plan and job.phase in ("pending", "running"):
            return replace(wanted, id=job.id, attempt=labels.attempt, store=labels.store)
    # The store knows better than the cluster: one that was made anew remembers no job.
    for attempt in sorted(made_before, reverse=True):
        id = job_id(wanted.film, wanted.plan, attempt)
        made = published(store, id)
        if made is not None and made.complete and made.exit_code == 0:
            return replace(wanted, id=id, attempt=attempt)
    return None


def _attempts(wanted: JobHandle, found: Iterable[ServerJob]) -> list[int]:
    """The attempts at this plan that the cluster remembers."""
    known = [Labels.read(job) for job in found]
    return [labels.attempt for labels in known if labels.plan == wanted.plan]


def _made_before(store: Store, wanted: JobHandle) -> list[int]:
    """The attempts at this plan that left a film in the store."""
    prefix = film_key(job_id(wanted.film, wanted.plan, 0))[:-1]
    return [int(r[len(prefix) :]) for r in store.recipes() if r.startswith(prefix)]


def _make_way(
    server: JobServer, wanted: JobHandle, found: Iterable[ServerJob], *, replace_running: bool
) -> None:
    """End what renders this film with another plan, if that was asked for."""
    live = [job for job in found if job.phase in ("pending", "running")]
    if not live:
        return
    if not replace_running:
        labels = Labels.read(live[0])
        raise InputError(
            f"{wanted.film} is being rendered with another plan (job {live[0].id}, submitted by "
            f"{labels.sender} from {labels.origin})",
            cure="--replace stops that first; --name gives another film a name of its own",
        )
    for job in live:
        server.stop(job.id)
    for job in live:
        until_ended(server, job.id)


def _send(
    server: JobServer,
    store: Store,
    handle: JobHandle,
    what: Order,
    made: Production,
    grace: int,
    doctor: bool,
) -> None:
    """Store references and token, write the lock, upload the package, begin."""
    store.check_writable()
    ordering.save_lock(what, made.lock)
    files = references.named(what.film)
    named = references.hashed(files, made.plan)
    package = _package(handle, what, made, named, doctor)
    # First what makes them needed, then the look at what is there: see `store/gc.py`.
    add_root(store, root_of_job(package.ticket, made.plan.title, made.lock))
    references.put(store, named, files)
    with tempfile.TemporaryDirectory(prefix="storyflow-") as name:
        folder = Path(name)
        digest = write_package(folder, package)
        store.commit(
            key=package.ticket.token,
            recipe=package.ticket.token,
            kind="job",
            digest=digest,
            inputs=package.ticket.model_dump_json(),
            files={TICKET: folder / TICKET},
        )
        labels = Labels(
            film=handle.film,
            plan=handle.plan,
            attempt=handle.attempt,
            store=handle.store,
            title=made.plan.title,
            sender=sender(),
            origin=str(handle.storyboard.absolute()) if handle.storyboard else "",
        )
        command = (what.cluster.python, "-m", "storyflow", "perform", TICKET)
        server.submit(handle.id, command, folder, labels.write(), grace=grace)


def _package(
    handle: JobHandle,
    what: Order,
    made: Production,
    named: tuple[Reference, ...],
    doctor: bool,
) -> Package:
    file = handle.storyboard
    ticket = Ticket(
        version=version("storyflow"),
        job=handle.id,
        film=handle.film,
        plan=handle.plan,
        attempt=handle.attempt,
        storyboard=f"film/{file.name if file is not None else 'film.yaml'}",
        profile=f"profile/{what.pipeline}.yaml",
        nonce=secrets.token_hex(16),
        references=named,
        shots=None if what.shots is None else tuple(sorted(what.shots)),
        max_gpu_hours=what.budget.gpu_hours,
        max_cost=what.budget.money,
        max_gpus=what.budget.gpus,
        one_class=what.one_class,
        doctor=doctor,
    )
    text = file.read_bytes() if file is not None else dump(what.film).encode()
    cluster = what.cluster.model_copy(update={"address": "auto", "store": handle.store})
    profile = with_folders(what.profile)
    return Package(ticket, text, made.lock, profile, cluster, known(handle.folder), what.cut)
