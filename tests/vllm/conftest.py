"""Tiny random models, a real Ray, and vLLM's own server: what these tests share.

They need an environment of their own, see README.md beside this file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATH = os.pathsep.join(map(str, (HERE, HERE / "support")))
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.pathsep.join((PATH, os.environ.get("PYTHONPATH", ""))),
    # As in the tests of the farm: loopback, no token, no telemetry.
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A machine that is busy with other tests starts it slowly.
    "RAY_raylet_start_wait_time_s": "180",
}
os.environ.update(ENVIRONMENT)
sys.path[:0] = PATH.split(os.pathsep)
sys.path.append(str(HERE.parent))
if "sitecustomize" in sys.modules:
    # Python found another one before this folder was on its path.
    sys.modules.pop("sitecustomize")
import sitecustomize  # noqa: E402, F401 - lets torchvision be imported

PATIENCE = 900
"""Seconds that vLLM's server may take to start on a busy machine."""


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2."""
    import tiny

    return tiny.text_model(tmp_path_factory.mktemp("models") / "text")


@pytest.fixture(scope="session")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL."""
    import tiny

    return tiny.vision_model(tmp_path_factory.mktemp("models") / "vision")


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """A Ray that was there before, which storyflow finds and must leave running."""
    from local_ray import local_ray

    with local_ray(runtime_env={"env_vars": ENVIRONMENT}) as ray:
        yield ray


@pytest.fixture(scope="session")
def server(vision: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM's OpenAI-compatible server with the Qwen2.5-VL."""
    log = tmp_path_factory.mktemp("server") / "log"
    for _ in range(3):
        port = _free_port()
        command = [
            sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(vision),
            "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
            "--dtype", "float32", "--max-model-len", "8192", "--enforce-eager",
            "--structured-outputs-config",
            '{"backend": "xgrammar", "disable_any_whitespace": true}',
        ]  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True
            )
        try:
            if _comes_up(f"http://127.0.0.1:{port}/health", process):
                yield f"http://127.0.0.1:{port}/v1"
                return
        finally:
            _end(process)
    raise RuntimeError(f"vLLM's server did not start:\n{log.read_text()[-4000:]}")


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert isinstance(port, int)
        return port


def _comes_up(url: str, process: subprocess.Popen[bytes]) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return True
        time.sleep(0.5)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
