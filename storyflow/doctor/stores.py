"""Checks of what is written to: the store from every node, disks, Ray's object store."""

from __future__ import annotations

from collections.abc import Iterator

from storyflow.doctor.facts import Disk, Facts, NodeFacts
from storyflow.doctor.findings import Finding
from storyflow.doctor.wishes import Wishes

GB = 1_000_000_000

FULL = GB
"""Bytes below which a disk counts as full: one segment's files, and what is half-written, fit."""

LITTLE = 20 * GB
"""Bytes that a night's work may want; below it a disk is worth a word."""

OBJECT_STORE = 120 << 20
"""Bytes of Ray's object store; prompts and embeddings pass through it, frames don't."""

CLIPS_OBJECT_STORE = 400 << 20
"""The same where a captioner is shown clips: several batches of them are on their way at once."""

_CODES = {"unreachable": "store", "other": "store-other", "unwritable": "store-unwritable"}
_WHAT = {
    "unreachable": "the store can't be reached",
    "other": "the store is another one than this machine's",
    "unwritable": "the store can't be written",
}

SLOW = 5.0
"""Seconds that looking, writing and reading back a few bytes may take."""


def check_store(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Every node must see the store that this machine sees, and be able to write into it."""
    for node in facts.all:
        fact = node.seen.store
        if fact.state != "ok":
            what = f"{_WHAT[fact.state]}: {fact.why}"
            yield Finding("error", _CODES[fact.state], what, node.name, cure=fact.cure)
        elif fact.seconds > SLOW:
            yield Finding(
                "warning",
                "store-slow",
                "the store answers slowly: a few bytes were written and read back",
                node.name,
                f"{fact.seconds:.1f} s",
                "look at the network, or name a store that is nearer to the workers",
            )


def check_disks(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Room where a run writes, and whether it may write there."""
    for node in facts.all:
        for disk in node.seen.disks:
            finding = _disk(node, disk, wishes)
            if finding is not None:
                yield finding


def _disk(node: NodeFacts, disk: Disk, wishes: Wishes) -> Finding | None:
    place = f"{disk.path}, for {'the store' if disk.use == 'store' else disk.use}"
    if disk.fault:
        return Finding(
            "error", "disk", f"can't write to {place}: {disk.fault}", node.name, cure=_cure(disk)
        )
    if not disk.total:
        return None  # the disk can't be asked; the store's own check tells what is wrong
    value = f"{_gb(disk.free)} free of {_gb(disk.total)}"
    if disk.free < FULL:
        return Finding("error", "disk", f"no room on {place}", node.name, value, _cure(disk))
    if disk.use == "cache" and disk.total < wishes.cache_bytes:
        what = f"the cache may grow to {_gb(wishes.cache_bytes)}, its disk is smaller ({place})"
        return Finding(
            "warning", "cache", what, node.name, value, "set cache.gigabytes, or cache.folder"
        )
    if disk.free < LITTLE:
        return Finding("warning", "disk", f"little room on {place}", node.name, value, _cure(disk))
    return None


def _cure(disk: Disk) -> str:
    return {
        "store": "free some space (storyflow store gc), or name another store",
        "cache": "free some space, or set cache.folder in the cluster file to another disk",
        "temporary files": "free some space, or set TMPDIR before `ray start`",
    }[disk.use]


def check_object_store(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Ray's object store, and the shared memory that it lies in."""
    least = CLIPS_OBJECT_STORE if wishes.sends_clips else OBJECT_STORE
    for node in facts.nodes:
        size, shared = node.object_store, node.seen.shared_memory
        if size is None:
            continue
        if size < least:
            yield Finding(
                "warning",
                "object-store",
                "Ray's object store is small, it will write to disk what passes through it",
                node.name,
                _mib(size),
                f"start Ray there with --object-store-memory={least}",
            )
        elif 0 < shared < size:
            yield Finding(
                "warning",
                "shared-memory",
                f"/dev/shm is smaller than Ray's object store of {_mib(size)}, which then lies on "
                "a disk",
                node.name,
                _mib(shared),
                "give the container more shared memory (--shm-size, or an emptyDir of medium "
                "Memory at /dev/shm)",
            )


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
