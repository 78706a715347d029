"""Films as jobs on a cluster: submit and leave, follow from anywhere, fetch what was made.

    from storyflow import jobs

    job = jobs.submit("film.yaml", address="http://head:8265", store="s3://films/store")
    state = jobs.wait(job)
    film = jobs.fetch(job).film

A series is one job: `submit_series` and `fetch_series`.

The cluster is reached through the job API of its Ray. What is too large for that, pictures, clips
and the film itself, goes through the store, which this machine and the cluster must both see.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storyflow.jobs.fetching import fetch
    from storyflow.jobs.find import find_job
    from storyflow.jobs.follow import cancel, list_jobs, log, status, tail, wait
    from storyflow.jobs.series import FetchedSeries, Submission, fetch_series, submit_series
    from storyflow.jobs.submitting import submit
    from storyflow.jobs.values import Fetched, JobHandle, JobStatus

_HOMES = {
    "storyflow.jobs.fetching": "fetch",
    "storyflow.jobs.find": "find_job",
    "storyflow.jobs.follow": "cancel list_jobs log status tail wait",
    "storyflow.jobs.series": "FetchedSeries Submission fetch_series submit_series",
    "storyflow.jobs.submitting": "submit",
    "storyflow.jobs.values": "Fetched JobHandle JobStatus",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Fetched",
    "FetchedSeries",
    "JobHandle",
    "JobStatus",
    "Submission",
    "cancel",
    "fetch",
    "fetch_series",
    "find_job",
    "list_jobs",
    "log",
    "status",
    "submit",
    "submit_series",
    "tail",
    "wait",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'storyflow.jobs' has no attribute {name!r}")
