"""Collecting problems while a film is resolved: everything is said, nothing stops at the first."""

from __future__ import annotations

from dataclasses import dataclass, field

from storyflow.errors import Problem
from storyflow.storyboard.model import Origin
from storyflow.storyboard.resolved import Where


@dataclass(frozen=True)
class Spot:
    """A part of the film for messages: where it was read, its path, and the shot it is in."""

    origin: Origin
    path: str = ""
    shot: str | None = None

    def where(self, *path: str | int) -> Where:
        """The place of a value in it."""
        return self.origin.where(*path)


@dataclass
class Report:
    """Problems found so far."""

    problems: list[Problem] = field(default_factory=list)

    def error(
        self,
        spot: Spot,
        at: str,
        code: str,
        what: str,
        *,
        value: object = None,
        cure: str = "",
        notice: bool = False,
    ) -> None:
        """Something is wrong at `at`, the dotted path of a value within the spot."""
        parts = [part for part in at.split(".") if part]
        where = spot.where(*(int(part) if part.isdigit() else part for part in parts))
        self.problems.append(
            Problem(
                code,
                what,
                path=".".join(part for part in (spot.path, *parts) if part),
                value=value,
                cure=cure,
                file=where.file,
                line=where.line,
                column=where.column,
                shot=spot.shot,
                level="notice" if notice else "error",
            )
        )

    def notice(
        self, spot: Spot, at: str, code: str, what: str, *, value: object = None, cure: str = ""
    ) -> None:
        """Something was adjusted."""
        self.error(spot, at, code, what, value=value, cure=cure, notice=True)

    @property
    def failed(self) -> bool:
        """Whether there is an error among the problems."""
        return any(problem.level == "error" for problem in self.problems)
