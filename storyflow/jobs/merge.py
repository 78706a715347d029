"""Two locks of one film that changed apart, joined fact by fact.

A fact is a shot's fingerprint, one take's seed and branch, the windows on one pipeline, the prompts
of one prompt profile, the chosen take or the held one. Each is taken from the side that changed it
since both were the same; where both changed it, differently, that is a conflict and this machine's
stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storyflow.lock import Held, Lock, LockedPrompts, LockedShot, LockedTake, PinnedWindows

_Fact = tuple[str, str | int]
_Facts = Mapping[_Fact, object]


@dataclass(frozen=True)
class Conflict:
    """A fact that both sides changed. `shot` is None for the film's seed."""

    shot: str | None
    what: str
    here: str
    there: str

    def __str__(self) -> str:
        """`shot 1C: chosen take is 2 here, 3 in the fetched film`."""
        where = f"shot {self.shot}" if self.shot is not None else "film"
        return f"{where}: {self.what} is {self.here} here, {self.there} in the fetched film"


@dataclass(frozen=True)
class Merged:
    """The joined lock; with conflicts, it holds what this machine says about them."""

    lock: Lock
    conflicts: tuple[Conflict, ...] = ()


def merge_locks(base: Lock, here: Lock, there: Lock) -> Merged:
    """Join two locks that both began as `base`. Shots stand in this machine's order."""
    conflicts: list[Conflict] = []
    ids = dict.fromkeys(shot.id for lock in (here, there) for shot in lock.shots)
    shots = []
    for id in ids:
        old, ours, theirs = (_facts(lock.shot(id)) for lock in (base, here, there))
        facts = {}
        for fact in dict.fromkeys((*ours, *theirs)):
            kept, clash = _join(old.get(fact), ours.get(fact), theirs.get(fact))
            if clash:
                conflicts.append(_conflict(id, fact, ours.get(fact), theirs.get(fact)))
            if kept is not None:
                facts[fact] = kept
        shots.append(_shot(id, facts))
    seed, clash = _join(base.seed, here.seed, there.seed)
    if clash:
        conflicts.insert(0, Conflict(None, "seed", str(here.seed), str(there.seed)))
    assert seed is None or isinstance(seed, int)
    return Merged(Lock(shots=tuple(shots), seed=seed), tuple(conflicts))


def _join(base: object, here: object, there: object) -> tuple[object, bool]:
    """What stays of one fact, and whether both sides changed it."""
    if here == there or there == base:
        return here, False
    if here == base:
        return there, False
    return here, True


def _facts(shot: LockedShot | None) -> _Facts:
    if shot is None:
        return {}
    facts: dict[_Fact, object] = {("fingerprint", ""): shot.fingerprint}
    facts |= {("take", take.take): take for take in shot.takes}
    facts |= {("windows", windows.pipeline): windows for windows in shot.windows}
    facts |= {("prompts", prompts.profile): prompts for prompts in shot.prompts}
    if shot.chosen is not None:
        facts["chosen", ""] = shot.chosen
    if shot.held is not None:
        facts["held", ""] = shot.held
    return facts


def _shot(id: str, facts: _Facts) -> LockedShot:
    takes = [fact for fact in facts.values() if isinstance(fact, LockedTake)]
    windows = [fact for fact in facts.values() if isinstance(fact, PinnedWindows)]
    prompts = [fact for fact in facts.values() if isinstance(fact, LockedPrompts)]
    fingerprint, chosen = facts.get(("fingerprint", "")), facts.get(("chosen", ""))
    held = facts.get(("held", ""))
    assert chosen is None or isinstance(chosen, int)
    assert held is None or isinstance(held, Held)
    return LockedShot(
        id=id,
        fingerprint=str(fingerprint),
        takes=tuple(sorted(takes, key=lambda take: take.take)),
        chosen=chosen,
        windows=tuple(sorted(windows, key=lambda w: w.pipeline)),
        held=held,
        prompts=tuple(sorted(prompts, key=lambda p: p.profile)),
    )


def _conflict(shot: str, fact: _Fact, here: object, there: object) -> Conflict:
    kind, of = fact
    what = {
        "fingerprint": "text",
        "take": f"take {of}",
        "windows": f"windows on {of}",
        "prompts": f"prompts of {of}",
        "chosen": "chosen take",
        "held": "held take",
    }[kind]
    return Conflict(shot, what, _words(here), _words(there))


def _words(fact: object) -> str:
    match fact:
        case None:
            return "none"
        case LockedTake(seed=seed, branch=None):
            return f"seed {seed}"
        case LockedTake(seed=seed, branch=branch) if branch is not None:
            return f"seed {seed}, {branch.segments} segments of take {branch.take}"
        case PinnedWindows(beats=beats):
            return "/".join(_row(beat) for beat in beats)
        case LockedPrompts(beats=beats):
            return " / ".join(repr(beat.text) for beat in beats)
        case Held(pipeline=pipeline, take=take):
            return f"take {take} on {pipeline}"
        case _:
            return str(fact)


def _row(numbers: Iterable[int]) -> str:
    return "+".join(map(str, numbers)) or "0"
