"""The Slurm script, run on stand-ins for Slurm's commands, Ray and storyflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster_files import CLUSTER

SCRIPT = CLUSTER / "slurm/storyflow.sbatch"

STAND_INS = {
    "scontrol": 'tr "," "\\n" <<<"$3"',
    "getent": 'echo "10.0.0.7 STREAM $2"',
    # A step is there as long as nobody ends it.
    "srun": 'echo "$*" >>"$LOG/srun"; exec sleep 1000',
    # `-` counts Ray's nodes: as many as steps have asked for.
    "python": """
if [ "$1" != "-" ]; then exec "$PYTHON" "$@"; fi
if [ -n "${NOBODY:-}" ]; then echo 0; exit; fi
grep -c -e --head "$LOG/srun" >"$LOG/count" || true
others=$(sed -n 's/.*--nodes=\\([0-9]*\\) .*--exclude.*/\\1/p' "$LOG/srun")
echo $(($(cat "$LOG/count") + ${others:-0}))
""",
    "storyflow": """
stat -c '%a' "$RAY_AUTH_TOKEN_PATH" >"$LOG/mode"
wc -c <"$RAY_AUTH_TOKEN_PATH" >"$LOG/length"
echo "$RAY_AUTH_MODE $RAY_ADDRESS $*" >"$LOG/storyflow"
if [ -n "${ASLEEP:-}" ]; then
  trap 'echo finished >"$LOG/drained"; exit 4' TERM
  touch "$LOG/asleep"
  while true; do sleep 0.05; done
fi
exit "${CODE:-0}"
""",
}


class Job:
    """One run of the script on nodes that are not there."""

    def __init__(self, folder: Path, nodes: str, **more: str) -> None:
        programs, self.log, self.home = (folder / name for name in ("bin", "log", "home"))
        for each in (programs, self.log, self.home):
            each.mkdir()
        for name, text in STAND_INS.items():
            (programs / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
            (programs / name).chmod(0o755)
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LOG": str(self.log),
            "PYTHON": sys.executable,
            "SLURM_JOB_ID": "17",
            "SLURM_JOB_NODELIST": nodes,
            "SLURM_CPUS_PER_TASK": "8",
            **more,
        }
        self.process = subprocess.Popen(
            ["bash", SCRIPT, "render", "a film.yaml"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self) -> tuple[int, str]:
        """Exit code and what was printed."""
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def read(self, name: str) -> str:
        return (self.log / name).read_text().strip()


def test_ray_comes_up_on_all_nodes_before_storyflow_is_called(tmp_path: Path) -> None:
    job = Job(tmp_path, "a,b,c")
    assert job.ended() == (0, "")
    head, others = job.read("srun").splitlines()
    assert "--nodelist=a ray start --head --node-ip-address=10.0.0.7 --port=6379" in head
    assert "--include-dashboard=false" in head
    assert "--nodes=2 --ntasks=2 --exclude=a ray start --address=10.0.0.7:6379" in others
    assert all("--block" in step and "--num-cpus=8" in step for step in (head, others))
    assert job.read("storyflow") == "token 10.0.0.7:6379 render a film.yaml"


def test_one_node_needs_no_others(tmp_path: Path) -> None:
    job = Job(tmp_path, "a")
    assert job.ended() == (0, "")
    assert len(job.read("srun").splitlines()) == 1


@pytest.mark.parametrize("code", ["0", "3", "5"])
def test_the_job_ends_as_storyflow_does_and_leaves_no_token(tmp_path: Path, code: str) -> None:
    job = Job(tmp_path, "a", CODE=code)
    assert job.ended() == (int(code), "")
    assert (job.read("mode"), job.read("length")) == ("600", "64")
    assert list(job.home.iterdir()) == []


def test_a_signal_reaches_storyflow_which_may_finish(tmp_path: Path) -> None:
    job = Job(tmp_path, "a", ASLEEP="1")
    while not (job.log / "asleep").exists():
        assert job.process.poll() is None
        time.sleep(0.02)
    job.process.send_signal(signal.SIGTERM)
    assert job.ended() == (4, "")
    assert job.read("drained") == "finished"


def test_nodes_that_do_not_come_end_the_job(tmp_path: Path) -> None:
    job = Job(tmp_path, "a,b", NOBODY="1", STORYFLOW_START_SECONDS="0")
    code, said = job.ended()
    assert code == 5
    assert "not all 1 nodes of job 17 had Ray within 0 seconds" in said
    assert not (job.log / "storyflow").exists()
    assert list(job.home.iterdir()) == []


def test_without_a_command_the_script_says_what_it_takes() -> None:
    found = subprocess.run(["bash", SCRIPT], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.startswith("usage: sbatch")
