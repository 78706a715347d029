"""What the doctor says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Level = Literal["error", "warning", "information"]
LEVELS: tuple[Level, ...] = get_args(Level)

ERRORS = 5
"""The exit code where a film would not be rendered: the machines are at fault."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a cluster.

    An error keeps a film from being rendered, or from being the same on all nodes; a warning may;
    an information is as it should be, and worth a word.
    `code` is a short name that stays, `where` a node or the whole cluster (empty).
    """

    level: Level
    code: str
    what: str
    where: str = ""
    value: str = ""
    cure: str = ""

    def __str__(self) -> str:
        """`error: gpu-7: the store is full, got 0 B; free some space`."""
        head = ": ".join(part for part in (self.level, self.where) if part)
        value = f", got {self.value}" if self.value else ""
        return f"{head}: {self.what}{value}" + (f"; {self.cure}" if self.cure else "")


@dataclass(frozen=True)
class NodeRow:
    """A node in the doctor's table: who it is and what it has."""

    name: str
    host: str
    has: str
    cards: str
    versions: str


@dataclass(frozen=True)
class Diagnosis:
    """The nodes that were examined and what was found, errors first."""

    address: str
    pipeline: str
    store: str
    nodes: tuple[NodeRow, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What keeps a film from being rendered."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What may keep a film from being rendered, or make it slow."""
        return tuple(finding for finding in self.findings if finding.level == "warning")

    @property
    def exit_code(self) -> int:
        """0, also with warnings; else 5."""
        return ERRORS if self.errors else 0


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: LEVELS.index(finding.level)))
