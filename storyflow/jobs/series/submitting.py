"""Submitting a series: look at every episode here, put files into the store, begin one job.

Safe to be called every hour: while a job of the series lives, while its window is closed, and once
everything is rendered, nothing is submitted.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Unpack, cast

from storyflow.cutlist import cut_path, cut_text
from storyflow.errors import FarmError, InputError
from storyflow.film import Order, Production, prepare
from storyflow.jobs import references
from storyflow.jobs.elsewhere import sender, unattended, with_folders
from storyflow.jobs.find import job_address
from storyflow.jobs.identity import SERIES, job_id, slug
from storyflow.jobs.labels import FILM, Labels
from storyflow.jobs.record import remember
from storyflow.jobs.series.kept import Kept, read_kept
from storyflow.jobs.series.ticket import BUNDLE, SentEpisode, SeriesTicket, digest_of, pack
from storyflow.jobs.server import JobExists, JobServer, ServerJob, connect
from storyflow.jobs.submitting import GRACE_SECONDS, TRIES
from storyflow.jobs.ticket import CLUSTER, TICKET, Reference, yaml_text
from storyflow.jobs.values import JobHandle
from storyflow.lockfile import lock_path
from storyflow.locktext import lock_text
from storyflow.ordering import save_lock
from storyflow.series.load import Listed
from storyflow.series.night import night_of
from storyflow.series.orders import Grounds, Where, fingerprint
from storyflow.store.roots import Root, add_root, now
from storyflow.store.store import Store
from storyflow.wording import write_needed

Sent = Literal["submitted", "running", "done", "closed"]


@dataclass(frozen=True)
class Submission:
    """What came of submitting: begun; or left alone since a job of the series lives (`job`),
    nothing is left to do, or the window is closed. `text` says so in one line. `broken` are the
    episodes that can't be rendered, and why.
    """

    outcome: Sent
    text: str
    job: JobHandle | None = None
    broken: tuple[tuple[str, str], ...] = ()


def submit_series(
    series: str | Path,
    *,
    grace: int = GRACE_SECONDS,
    doctor: bool = True,
    retry: bool = False,
    notify: Callable[[str], None] = lambda text: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    **where: Unpack[Where],
) -> Submission:
    """Begin to render what is left of a series on a cluster; see Where for the rest.

    `address` (or the cluster file's `jobs`, or RAY_API_SERVER_ADDRESS) is the URL of the job API.
    The store must be seen by this machine and the cluster alike. Storyboards, locks, cut lists,
    profiles and every picture and clip, the bible's too, go through the store. Locks are pinned
    here; a broken episode is told, and stops no other. `retry` lets what failed for good be tried
    again. A cancelled job has `grace` seconds to end.

    Raises InputError for the series file, StoreError, FarmError when the cluster can't be had.
    """
    given = where.get("address")
    there = {key: value for key, value in where.items() if key != "address"}
    grounds = Grounds(series, cast(Where, there))
    night = night_of(grounds.series.rules, clock())
    if not night.open:
        opens = "" if night.next is None else f"{night.next:%Y-%m-%d %H:%M} UTC"
        return Submission("closed", f"the window opens at {opens}; nothing was submitted")
    url = job_address(given, grounds.cluster)
    server, name = connect(url), series_name(grounds)
    found = [job for job in server.list() if job.labels.get(FILM) == name]
    if (running := _living(found)) is not None:
        return _running(grounds, url, running)
    store = Store(grounds.store, grounds.cluster.cache.limit)
    store.check_writable()
    bundle = _Bundle(grounds)
    for listed in grounds.listed():
        bundle.add(listed, notify)
    kept = read_kept(store, grounds.claim)
    digest = bundle.digest
    same_rules = grounds.series.rules.on_failure == "leave" or kept.night == night.date.isoformat()
    if kept.settled and kept.digest == digest and same_rules and not retry:
        return Submission("done", _done(kept), broken=bundle.broken)
    first = 1 + max((Labels.read(job).attempt for job in found), default=0)
    for attempt in range(first, first + TRIES):
        handle = _handle(grounds, name, digest, attempt, url, store)
        ticket = bundle.ticket(handle, retry=retry, doctor=doctor)
        try:
            _send(server, store, grounds, ticket, bundle, kept, handle, grace)
        except JobExists:
            # Somebody submitted a moment ago, or the store outlived the cluster's memory.
            found = [job for job in server.list() if job.labels.get(FILM) == name]
            if (running := _living(found)) is not None:
                return _running(grounds, url, running)
            continue
        remember(handle)
        return Submission("submitted", f"submitted {handle.id} to {url}", handle, bundle.broken)
    raise FarmError(
        f"the cluster has used the ids up to {handle.id}, but knows no such jobs",
        cure="run the same command again",
    )


def series_name(grounds: Grounds) -> str:
    """The name of a series on a cluster, among films' names."""
    file = grounds.series.origin.file
    return f"{SERIES}{slug(grounds.series.series) or slug(Path(file or 'series').stem)}"


@dataclass
class _Bundle:
    """What is sent of the episodes, gathered one by one. `media` are the authors' files."""

    grounds: Grounds
    files: dict[str, bytes] = field(default_factory=dict)
    media: dict[str, Path] = field(default_factory=dict)
    episodes: list[SentEpisode] = field(default_factory=list)
    cast: dict[str, Reference] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        file = self.grounds.series.origin.file
        if file is None:
            raise InputError(
                "a series that was made in Python can't be submitted", cure="write it to a file"
            )
        self.series = f"series/{Path(file).name}"
        self.files[self.series] = Path(file).read_bytes()

    @property
    def broken(self) -> tuple[tuple[str, str], ...]:
        return tuple((each.name, each.broken) for each in self.episodes if each.broken)

    @property
    def digest(self) -> str:
        named = [reference for each in self.episodes for reference in each.references]
        texts = [f"{r.text} {r.sha256}" for r in (*named, *self.cast.values())]
        wishes = [each.model_dump_json() for each in self.episodes]
        # Of a storyboard and its lock counts what they make: windows that were pinned since don't.
        files = {n: text for n, text in self.files.items() if not n.startswith("episodes/")}
        return digest_of(files, version("storyflow"), *texts, *wishes, *self.marks)

    def add(self, listed: Listed, notify: Callable[[str], None]) -> None:
        """Read an episode, pin its lock, and take along what it needs."""
        entry = self.grounds.series.episodes.index(listed.wishes)
        sent = SentEpisode(name=listed.name, entry=entry, file=str(listed.file))
        try:
            what = unattended(self.grounds.order(listed))
            made = prepare(what)
            # The key to a server is here, not on the cluster.
            if what.profile.prompts.enhancer != "vllm" and write_needed(what, made.plan, notify):
                made = prepare(what)
            named = references.named(what.film)
            hashed = references.hashed(named, made.plan)
            pictures = references.inherited(what.film)
            shared = references.hashed(pictures, made.plan)
        except InputError as error:
            self.episodes.append(sent.model_copy(update={"broken": str(error)}))
            return
        save_lock(what, made.lock)
        self.marks.append(fingerprint(made, what))
        self.media |= {r.sha256: named[r.text] for r in hashed}
        self.media |= {r.sha256: pictures[r.text] for r in shared}
        self.cast |= {r.text: r for r in shared}
        changes = {
            "storyboard": self._storyboard(listed, what, made),
            "profile": self._profile(what),
            "references": hashed,
        }
        self.episodes.append(sent.model_copy(update=changes))

    def ticket(self, handle: JobHandle, *, retry: bool, doctor: bool) -> SeriesTicket:
        return SeriesTicket(
            version=version("storyflow"),
            job=handle.id,
            name=handle.film,
            title=self.grounds.series.series,
            claim=self.grounds.claim,
            digest=handle.plan,
            nonce=secrets.token_hex(16),
            series=self.series,
            episodes=tuple(self.episodes),
            cast=tuple(self.cast.values()),
            command=_command(self.grounds),
            retry=retry,
            doctor=doctor,
        )

    def _storyboard(self, listed: Listed, what: Order, made: Production) -> str:
        place = Path(f"episodes/{listed.number:04}/{listed.file.name}")
        self.files[str(place)] = listed.file.read_bytes()
        self.files[str(lock_path(place))] = lock_text(made.lock).encode()
        if what.cut is not None:
            self.files[str(cut_path(place))] = cut_text(what.cut).encode()
        return str(place)

    def _profile(self, what: Order) -> str:
        text = yaml_text(with_folders(what.profile))
        known = self.profiles.setdefault(
            f"{what.pipeline}\n{text}", f"profiles/{len(self.profiles)}/{what.pipeline}.yaml"
        )
        self.files[known] = text.encode()
        return known


def _done(kept: Kept) -> str:
    if kept.outcome == "complete":
        return "everything is rendered; nothing was submitted"
    return (
        "nothing is left to render but what failed (--retry tries it again) or is broken; nothing "
        "was submitted"
    )


def _command(grounds: Grounds) -> tuple[str, ...]:
    """What submits the series again, in any folder."""
    words = [
        "storyflow",
        "series",
        "submit",
        str(Path(grounds.series.origin.file or "").absolute()),
    ]
    cluster = grounds.where.get("cluster")
    if isinstance(cluster, str | Path):
        path = Path(cluster)
        words += ["--cluster", str(path.absolute() if path.is_file() else cluster)]
    for name in ("store", "out"):
        if (place := grounds.where.get(name)) is not None:
            text = str(place)
            words += [f"--{name}", text if "://" in text else str(Path(text).absolute())]
    return tuple(words)


def _living(found: Iterable[ServerJob]) -> ServerJob | None:
    return next((job for job in found if job.phase in ("pending", "running")), None)


def _running(grounds: Grounds, url: str, job: ServerJob) -> Submission:
    labels = Labels.read(job)
    handle = JobHandle(
        job.id, labels.film, labels.plan, labels.attempt, url, labels.store, grounds.folder
    )
    state = "waits" if job.phase == "pending" else "runs"
    text = f"{job.id} {state} already (submitted by {labels.sender}); nothing was submitted"
    return Submission("running", text, handle)


def _handle(
    grounds: Grounds, name: str, digest: str, attempt: int, url: str, store: Store
) -> JobHandle:
    return JobHandle(
        id=job_id(name, digest, attempt),
        film=name,
        plan=digest,
        attempt=attempt,
        address=url,
        store=store.location,
        folder=grounds.folder,
        submitted=True,
    )


def _send(
    server: JobServer,
    store: Store,
    grounds: Grounds,
    ticket: SeriesTicket,
    bundle: _Bundle,
    kept: Kept,
    handle: JobHandle,
    grace: int,
) -> None:
    named = {r.sha256: r for each in ticket.episodes for r in each.references}
    named |= {r.sha256: r for r in ticket.cast}
    # First what makes them needed, then the look at what is there: see `store/gc.py`.
    add_root(store, root_of_series(ticket, kept))
    for sha256, reference in named.items():
        references.put(store, (reference,), {reference.text: bundle.media[sha256]})
    with tempfile.TemporaryDirectory(prefix="storyflow-") as place:
        package, packed = Path(place) / "package", Path(place) / BUNDLE
        package.mkdir()
        pack(bundle.files, packed)
        store.commit(
            key=ticket.token,
            recipe=ticket.token,
            kind="job",
            digest=ticket.digest,
            inputs=ticket.model_dump_json(include={"version", "job", "name", "title", "nonce"}),
            files={BUNDLE: packed},
        )
        (package / TICKET).write_text(ticket.model_dump_json(indent=1) + "\n", encoding="utf-8")
        cluster = grounds.cluster.model_copy(update={"address": "auto", "store": store.location})
        (package / CLUSTER).write_text(yaml_text(cluster), encoding="utf-8")
        labels = Labels(
            film=handle.film,
            plan=handle.plan,
            attempt=handle.attempt,
            store=handle.store,
            title=ticket.title,
            sender=sender(),
            origin=str(Path(grounds.series.origin.file or "").absolute()),
        )
        command = (grounds.cluster.python, "-m", "storyflow", "perform-series", TICKET)
        server.submit(handle.id, command, package, labels.write(), grace=grace)


def root_of_series(ticket: SeriesTicket, kept: Kept) -> Root:
    """What a series needs of the store besides segments: the authors' files and its films.

    Kept until `storyflow forget series-…`.
    """
    files = {r.sha256 for each in ticket.episodes for r in each.references}
    files |= {r.sha256 for r in ticket.cast}
    keys = {ticket.token, *(references.file_key(sha256) for sha256 in files)}
    return Root(
        run=ticket.claim,
        film=ticket.title,
        when=now(),
        host="job",
        folder=ticket.name,
        pipeline="",
        recipes=frozenset(),
        keys=frozenset(keys | {film.key for film in kept.films.values()}),
    )
