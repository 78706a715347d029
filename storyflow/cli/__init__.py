"""The command line: each verb is one public function of `storyflow`, and prints what it returns.

`app` is the frame; every other module here adds the commands of one subject to it.
"""

from storyflow.cli import (
    bench,
    captions,
    clusters,
    dailies,
    edits,
    jobs,
    plan,
    prompts,
    quality,
    render,
    report,
    series,
    series_jobs,
    series_render,
    store,
    storyboards,
    takes,
)
from storyflow.cli.app import app, main

__all__ = [
    "app",
    "bench",
    "captions",
    "clusters",
    "dailies",
    "edits",
    "jobs",
    "main",
    "plan",
    "prompts",
    "quality",
    "render",
    "report",
    "series",
    "series_jobs",
    "series_render",
    "store",
    "storyboards",
    "takes",
]
