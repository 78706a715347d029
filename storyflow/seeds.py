"""Seeds: whole numbers derived by hashing, so that nothing draws from a global generator.

A take's seed is derived once, from the film's seed and the shot's stable id, and then pinned in the
lock: renaming or moving the shot changes nothing. A segment's seed says in which take it was born,
so a take that branches off shares the seeds of what lies before the branch and has its own after.
"""

from __future__ import annotations

import hashlib

SEED_BITS = 53
"""Every JSON reader keeps whole numbers of this size exact."""


def shot_seed(film_seed: int, shot: str, take: int) -> int:
    """The seed of a shot's take, from 0 to 2**53 - 1; `shot` is the id it was first seen under."""
    return _hashed("shot", str(film_seed), shot, str(take))


def segment_seed(take_seed: int, born: int, index: int, attempt: int = 1) -> int:
    """The seed of one segment, from 0 to 2**53 - 1.

    `born` is the take in which the segment was first planned (not a take that merely shares it),
    `index` its place in the take from 0, `attempt` counts the tries that were judged, from 1.
    """
    return _number(f"segment\0{take_seed}\0{born}\0{index}\0{attempt}")


def _hashed(*parts: str) -> int:
    # A separator that no part can contain keeps ("1", "12") and ("11", "2") apart.
    return _number("\0".join([part.replace("\0", "\0\0") for part in parts]))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - SEED_BITS)
