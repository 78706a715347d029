"""What is sent to the cluster: one small folder with everything but the author's large files.

job.json             the ticket
film/NAME.yaml       the storyboard, as it was written
film/NAME.lock.yaml  its lock, with everything pinned
profile/NAME.yaml    the pipeline profile, with every --set applied
cluster.yaml         the cluster file, as seen from the cluster
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import ValidationError

from storyflow.cluster import Cluster
from storyflow.cutlist import CutList, cut_path, cut_text
from storyflow.documents import Strict
from storyflow.errors import InputError
from storyflow.lock import Lock
from storyflow.lockfile import lock_path, write_lock
from storyflow.pipeline import Profile
from storyflow.poison import FAILED

TICKET = "job.json"
CLUSTER = "cluster.yaml"

T = TypeVar("T", bound=Strict)


class Reference(Strict):
    """A file of the author's: how the storyboard names it, and its content's sha256."""

    text: str
    sha256: str


class Ticket(Strict):
    """What to do. `job`, `film`, `plan` and `attempt` are the handle's.

    `storyboard` and `profile` are files in the package. `nonce` was written into the store by the
    submitter, under `token`; a store that lacks it is another one. `version` is the submitter's
    storyflow. With `doctor` the cluster is examined first. The rest are options of a render.
    """

    storyflow: Literal[1] = 1
    version: str
    job: str
    film: str
    plan: str
    attempt: int
    storyboard: str
    profile: str
    nonce: str
    references: tuple[Reference, ...] = ()
    shots: tuple[str, ...] | None = None
    max_gpu_hours: float | None = None
    max_cost: float | None = None
    max_gpus: int | None = None
    one_class: bool = False
    doctor: bool = True

    @property
    def token(self) -> str:
        """The key of what the submitter left in the store."""
        return token_key(self.job, self.nonce)


@dataclass(frozen=True)
class Package:
    """A ticket and the files that go with it."""

    ticket: Ticket
    storyboard: bytes
    lock: Lock
    profile: Profile
    cluster: Cluster
    failed: bytes | None = None
    cut: CutList | None = None


def token_key(job: str, nonce: str) -> str:
    """The store's key for a submission."""
    return f"job-{job}-{nonce[:12]}"


def write_package(folder: Path, package: Package) -> str:
    """Write the files into an empty folder; sha256 over names and contents. Raises OSError."""
    storyboard, profile = folder / package.ticket.storyboard, folder / package.ticket.profile
    storyboard.parent.mkdir()
    storyboard.write_bytes(package.storyboard)
    write_lock(lock_path(storyboard), package.lock)
    if package.cut is not None:
        cut_path(storyboard).write_text(cut_text(package.cut), encoding="utf-8")
    profile.parent.mkdir()
    profile.write_text(yaml_text(package.profile), encoding="utf-8")
    (folder / CLUSTER).write_text(yaml_text(package.cluster), encoding="utf-8")
    if package.failed is not None:
        (folder / FAILED).write_bytes(package.failed)
    text = json.dumps(package.ticket.model_dump(mode="json"), indent=1, ensure_ascii=False)
    (folder / TICKET).write_text(text + "\n", encoding="utf-8")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def read_ticket(path: Path, kind: type[T], what: str = "a ticket") -> T:
    """The ticket of a kind in a file. Raises InputError: absent, or of another version."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"can't read the ticket {path}: {error.strerror}") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not {what} of this version ({error.errors()[0]['msg']})",
            cure="install the same storyflow here and on the cluster",
        ) from None


def yaml_text(settings: Strict) -> str:
    """Settings as YAML that reads back as equal settings."""
    data = settings.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
