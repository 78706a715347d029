"""Series as jobs on a cluster: a night's work, sent as one job.

    from storyflow.jobs.series import fetch_series, submit_series

    sent = submit_series("series.yaml", cluster="farm.yaml")
    fetched = fetch_series("series.yaml", cluster="farm.yaml")

What a series has become is kept in the store (`kept`): films, locks, dailies and, where the store
is a bucket, the ledger. The next job goes on from there, on whatever machine, and `fetch_series`
brings it here.
"""

from __future__ import annotations

from storyflow.jobs.series.fetching import FetchedSeries, fetch_series
from storyflow.jobs.series.submitting import Submission, submit_series

__all__ = ["FetchedSeries", "Submission", "fetch_series", "submit_series"]
