"""Workers on machines that aren't there yet: Ray's autoscaler starts them when they are wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from films import SMALL
from ray_head import ray_head

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FARM = """\
storyflow: 1
store: store
workers: {count: 1, gpus: 1, threads: 1, accelerator: OTHER, autoscale: true}
"""


def test_a_worker_asks_for_a_machine_and_renders_on_it(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from fake_machines import FILE, config, ended

    (tmp_path / "farm.yaml").write_text(FARM)
    (tmp_path / "film.yaml").write_text("film: Tiny\nshots:\n- {id: A, dur: 1s, do: a}\n")
    machines = tmp_path / "machines"

    def scaling(address: str) -> list[str]:
        file = tmp_path / "scaling.json"
        file.write_text(json.dumps(config(address)))
        return [f"--autoscaling-config={file}"]

    environment = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "PYTHONPATH": str(Path(__file__).parent),
        FILE: str(machines),
    }
    with ended(machines), ray_head(scaling, **environment) as head:

        def call(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "storyflow", *words, "--cluster", "farm.yaml",
                 "--address", head.address],
                env={**os.environ, **head.environment},
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        found = json.loads(call("cluster", "doctor", "-p", "slate", "--json"))["findings"]
        (told,) = (each for each in found if each["code"] == "workers")
        assert told["level"] == "information" and "room for 0 now" in told["what"]
        assert not machines.exists()
        settings = [text for setting in SMALL for text in ("--set", setting)]
        said = call("render", "film.yaml", "-p", "slate", *settings)
        assert "render A/1 on worker-1" in said
        assert len(machines.read_text().splitlines()) == 1
    assert (tmp_path / "renders/film/film.mp4").is_file()
