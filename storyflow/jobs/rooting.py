"""What a job needs of the store besides its segments, so that it is not collected as garbage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from storyflow.jobs.references import file_key
from storyflow.jobs.results import film_key
from storyflow.jobs.ticket import Ticket
from storyflow.lock import Lock
from storyflow.locktext import lock_text
from storyflow.store.roots import Root, now


def root_of_job(ticket: Ticket, title: str, lock: Lock, *, finished: bool = False) -> Root:
    """The author's files and the film: kept until `storyflow forget FILM-PLAN-job`.

    A later attempt at the same plan has the same root, so what failed may be collected. The job's
    own run has a root of its own for the segments.
    """
    root = Root(
        run=f"{ticket.film}-{ticket.plan}-job",
        film=title,
        when=now(),
        host="job",
        folder=ticket.film,
        pipeline=PurePosixPath(ticket.profile).stem,
        recipes=frozenset(),
        keys=frozenset(
            {ticket.token, film_key(ticket.job), *(file_key(r.sha256) for r in ticket.references)}
        ),
        lock=lock_text(lock),
    )
    return replace(root, finished=finished)
