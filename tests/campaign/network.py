"""A network of its own: machines as network namespaces, joined by a switch that is one, too.

Nothing of it is seen from this machine's own network, and nothing of that from inside.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .processes import kill, tree_of

PREFIX = "10.77.0."


class Refused(Exception):
    """This process may not make network namespaces; says why."""


class Network:
    """Machines by name; each has the address that `address` tells. Raises Refused.

    `close` ends every process in it and takes it away.
    """

    def __init__(self, machines: Sequence[str]) -> None:
        self._name = f"sf{os.getpid()}"
        self._machines = tuple(machines)
        self._made: list[str] = []
        self._cut: set[str] = set()
        try:
            self._add("switch")
            self._in("switch", "ip", "link", "add", "switch", "type", "bridge")
            self._in("switch", "ip", "link", "set", "switch", "up")
            for name in self._machines:
                self._join(name)
        except BaseException as error:
            self.close()
            if isinstance(error, subprocess.CalledProcessError):
                said = (error.stderr or b"").decode(errors="replace").strip()
                raise Refused(said or str(error)) from None
            if isinstance(error, OSError):
                raise Refused(f"can't run {error.filename}: {error.strerror}") from None
            raise

    def address(self, name: str) -> str:
        """A machine's address in this network."""
        return f"{PREFIX}{self._machines.index(name) + 1}"

    def start(
        self, name: str, words: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a program on a machine, in a session of its own; its words go to `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self._space(name), *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    def processes(self, name: str) -> set[int]:
        """All that run on a machine."""
        told = _run("ip", "netns", "pids", self._space(name))
        return {int(pid) for pid in told.split()}

    def cut(self, name: str) -> None:
        """Pull a machine's cable."""
        self._cut.add(name)
        self._in("switch", "ip", "link", "set", name, "down")

    def mend(self, name: str) -> None:
        """Put it in again."""
        self._cut.discard(name)
        self._in("switch", "ip", "link", "set", name, "up")

    def end(self, name: str) -> None:
        """End all that runs on a machine."""
        kill(tree_of(self.processes(name)))

    def close(self) -> None:
        """End everything that runs in it, and take it away."""
        for space in reversed(self._made):
            with suppress(subprocess.CalledProcessError, OSError):
                kill(int(pid) for pid in _run("ip", "netns", "pids", space).split())
            with suppress(subprocess.CalledProcessError, OSError):
                _run("ip", "netns", "del", space)
        self._made.clear()

    def _join(self, name: str) -> None:
        self._add(name)
        space = self._space(name)
        self._in("switch", *f"ip link add {name} type veth peer name eth0 netns {space}".split())
        self._in("switch", *f"ip link set {name} master switch up".split())
        self._in(name, *f"ip address add {self.address(name)}/24 dev eth0".split())
        self._in(name, *["ip", "link", "set", "eth0", "up"])

    def _add(self, name: str) -> None:
        _run("ip", "netns", "add", self._space(name))
        self._made.append(self._space(name))
        self._in(name, *["ip", "link", "set", "lo", "up"])

    def _in(self, name: str, *words: str) -> None:
        _run("ip", "netns", "exec", self._space(name), *words)

    def _space(self, name: str) -> str:
        return f"{self._name}-{name}"


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True).stdout.decode()
