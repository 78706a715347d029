"""A series submitted to a separately started Ray, by the commands that a cron job would call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray_head import ray_head
from test_series_plan import series_in

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_series_is_submitted_to_a_job_server_and_its_films_are_fetched(tmp_path: Path) -> None:
    series_in(tmp_path)
    with ray_head(RAY_AUTH_MODE="disabled") as head:
        (tmp_path / "farm.yaml").write_text(
            f"storyflow: 1\naddress: auto\njobs: {head.jobs}\nstore: store\n"
            "workers: {count: 1, threads: 1}\n"
        )

        def call(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "storyflow", "series", *words],
                env={**os.environ, "RAY_AUTH_MODE": "disabled"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        farm = ("--cluster", "farm.yaml")
        said = call("submit", "series.yaml", *farm, "--follow")
        assert "submitted series-shapes-" in said and "complete" in said
        assert "nothing was submitted" in call("submit", "series.yaml", *farm)
        call("fetch", "series.yaml", *farm)
    for name in ("e1", "e2"):
        assert (tmp_path / f"renders/series/{name}/film.mp4").is_file()
