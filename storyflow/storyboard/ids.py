"""Ids of shots that have none in the file: assigned once, found again by content.

What the lock pins of a shot is its id and its fingerprint. A fingerprint has two halves: a hash of
everything the author wrote, which finds a shot that was moved, and a sketch of its words (the
smallest hashes: MinHash, Broder 1997), which finds a shot that was edited.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from storyflow.storyboard.dump import said
from storyflow.storyboard.model import Beat, Film, Shot

SKETCH = 32
"""Words in a sketch; up to so many, `similarity` is exact, beyond that an estimate."""
ALIKE = 0.4
"""The agreement from which on an edited shot is the same shot."""
NEIGHBOURS = 100
"""Pinned shots that an edited shot is compared with, nearest first: bounds the work."""

_NOT_CONTENT = ("id", "note", "take", "takes", "seed", "in", "out", "title")
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=True)
_LETTERS = [c for c in string.ascii_uppercase if c not in "IO"]


@dataclass(frozen=True)
class PinnedShot:
    """What the lock remembers of a shot to find it again."""

    id: str
    fingerprint: str


def fingerprint(shot: Shot) -> str:
    """`HASH-SKETCH` in hex: what the author wrote for the shot, apart from id, takes and joints."""
    content = said(shot)
    for key in _NOT_CONTENT:
        content.pop(key, None)
    exact = hashlib.sha256(_ENCODER.encode(content).encode()).hexdigest()[:24]
    return f"{exact}-{_sketch(shot)}"


def similarity(one: str, other: str) -> float:
    """The share of words that two fingerprinted shots have in common, 0 to 1."""
    a, b = (_hashes(print_.partition("-")[2]) for print_ in (one, other))
    union = sorted({*a, *b})[:SKETCH]
    common = set(a).intersection(b)
    return sum(hash_ in common for hash_ in union) / len(union) if union else 0.0


def assign_ids(
    film: Film, pinned: Sequence[PinnedShot] = (), prints: Sequence[str] | None = None
) -> tuple[str, ...]:
    """An id for every shot, in the order of the cut. `prints` are the shots' fingerprints.

    Authored ids stay. The others get the pinned id of the shot with the same content, else of the
    one with the most similar words, else a new one. No id is given twice, and none that another
    shot once had goes to a new one.
    """
    shots = [shot for _, _, shot in film.each_shot()]
    found = {number: shot.id for number, shot in enumerate(shots) if shot.id is not None}
    authored = {known.lower() for known in found.values()}
    if len(found) == len(shots):
        return tuple(found.values())
    prints = prints or [fingerprint(shot) for shot in shots]
    open_shots = {number: prints[number] for number in range(len(shots)) if number not in found}
    free = {n: pin for n, pin in enumerate(pinned) if pin.id.lower() not in authored}
    for match in (_same_content, _similar_words):
        for number, pin_number in match(open_shots, free):
            found[number] = free.pop(pin_number).id
            del open_shots[number]
    taken = authored | {pin.id.lower() for pin in pinned}
    namers: dict[int, Iterator[str]] = {}
    for number, (scene, _, _) in enumerate(film.each_shot()):
        if number in open_shots:
            fresh = _scene_names(scene) if film.scenes else map(str, itertools.count(1))
            names = namers.setdefault(scene, fresh)
            found[number] = next(name for name in names if name.lower() not in taken)
    return tuple(found[number] for number in range(len(shots)))


def _same_content(
    shots: Mapping[int, str], free: Mapping[int, PinnedShot]
) -> list[tuple[int, int]]:
    """Pairs of shot and pin numbers whose hashes agree; equal shots pair in order."""
    by_hash: dict[str, list[int]] = {}
    for pin_number, pin in free.items():
        by_hash.setdefault(pin.fingerprint.partition("-")[0], []).append(pin_number)
    pairs = []
    for number, print_ in shots.items():
        if candidates := by_hash.get(print_.partition("-")[0]):
            pairs.append((number, candidates.pop(0)))
    return pairs


def _similar_words(
    shots: Mapping[int, str], free: Mapping[int, PinnedShot]
) -> list[tuple[int, int]]:
    """Pairs of shot and pin numbers that agree best, the best first; each number once."""
    likely = sorted(
        (-likeness, abs(number - pin_number), number, pin_number)
        for number, print_ in shots.items()
        for pin_number in sorted(free, key=lambda n: abs(n - number))[:NEIGHBOURS]
        if (likeness := similarity(print_, free[pin_number].fingerprint)) >= ALIKE
    )
    pairs: list[tuple[int, int]] = []
    seen_shots: set[int] = set()
    seen_pins: set[int] = set()
    for _, _, number, pin_number in likely:
        if number not in seen_shots and pin_number not in seen_pins:
            pairs.append((number, pin_number))
            seen_shots.add(number)
            seen_pins.add(pin_number)
    return pairs


def _scene_names(scene: int) -> Iterator[str]:
    """1A, 1B, … 1Z, 1AA: letters as on a slate, without I and O."""
    for length in itertools.count(1):
        for number in range(len(_LETTERS) ** length):
            name = ""
            for _ in range(length):
                number, letter = divmod(number, len(_LETTERS))
                name = _LETTERS[letter] + name
            yield f"{scene + 1}{name}"


def _hashes(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _sketch(shot: Shot) -> str:
    """The smallest hashes of its words, four hex digits each, ascending."""
    parts: list[Shot | Beat] = [shot, *(shot.beats or ())]
    text = " ".join(f"{part.do or ''} {part.say or ''}" for part in parts)
    return "".join(sorted({_word_hash(word) for word in re.findall(r"\w+", text.lower())})[:SKETCH])


@lru_cache(maxsize=20_000)
def _word_hash(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:4]
