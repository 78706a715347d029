"""Records beside a film as JSON: written aside and renamed, checked whole when they are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from storyflow.cutting.aside import written_aside
from storyflow.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Filed(Generic[T]):
    """How values of one type are kept. `name` is what a file is called in messages ("a manifest"),
    `make` and `again` what to do where there is none, or one that can't be used."""

    kind: type[T]
    name: str
    make: str
    again: str

    def write(self, path: Path, value: T) -> Path:
        """Write `value`. Raises CutError when the disk refuses."""
        with written_aside(path) as target:
            target.write_bytes(self._adapter.dump_json(value, indent=1) + b"\n")
        return path

    def read(self, path: Path) -> T:
        """What `write` wrote. Raises InputError: absent or broken."""
        try:
            return self._adapter.validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror}", cure=self.make) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"{path} is not {self.name} of this version: {place + ': ' if place else ''}"
                f"{first['msg']}",
                cure=self.again,
            ) from None

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        # Built when it is needed: that takes longer than most commands.
        return TypeAdapter(self.kind)
