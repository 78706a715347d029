"""What a shot begins and ends with, and the mode that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storyflow.documents import did_you_mean
from storyflow.storyboard.model import Shot
from storyflow.storyboard.references import BadReference, Reference, find, look, looks_like_file
from storyflow.storyboard.report import Report, Spot
from storyflow.storyboard.resolved import Mode

NEARBY = 75
"""Shots before and after one that a misspelt `from:` of it is compared with."""


@dataclass(frozen=True)
class Source:
    """A shot's mode, and the picture, clip or shot it comes from."""

    mode: Mode = "text"
    source: Path | None = None
    end: Path | None = None
    follows: str | None = None


@dataclass(frozen=True)
class Folder:
    """Where references are looked for; those in `placed` are there, wherever that is."""

    root: Path
    allow_outside: bool = False
    placed: Mapping[str, Path] = field(default_factory=dict)

    def find(self, text: str, spot: Spot, at: str, report: Report) -> Reference | None:
        """The file, or None and a problem."""
        try:
            if (placed := self.placed.get(text)) is not None:
                return look(placed)
            return find(text, self.root, allow_outside=self.allow_outside)
        except BadReference as bad:
            report.error(spot, at, bad.code, str(bad), value=text, cure=bad.cure)
            return None

    def picture(self, text: str, spot: Spot, at: str, report: Report) -> Path | None:
        """The picture, or None and a problem."""
        found = self.find(text, spot, at, report)
        if found is not None and found.kind != "picture":
            report.error(
                spot,
                at,
                "wrong-kind",
                "a picture is needed here",
                value=text,
                cure="name a picture",
            )
            return None
        return found.path if found else None


def source_of(
    number: int,
    shots: Sequence[Shot],
    ids: Sequence[str],
    known: Collection[str],
    folder: Folder,
    spot: Spot,
    report: Report,
) -> Source:
    """Infer the mode of shot `number` from its `from:` and `to:`; `known` is the set of `ids`."""
    shot = shots[number]
    start = shot.from_
    end = None if shot.to is None else folder.picture(shot.to, spot, "to", report)
    if start is None:
        if shot.to is not None:
            cure = "add 'from: PICTURE', or describe the end in do"
            report.error(
                spot, "to", "to-without-from", "'to' without 'from'", value=shot.to, cure=cure
            )
        return Source()
    follows = _followed(start, number, ids, known, spot, report)
    if follows is not None or not looks_like_file(start):
        if shot.to is not None:
            _refuse_to(shot.to, "a continuation", spot, report)
        return Source("continue", follows=follows)
    found = folder.find(start, spot, "from", report)
    if found is None:
        return Source()
    if found.kind == "clip":
        if shot.to is not None:
            _refuse_to(shot.to, "an extended clip", spot, report)
        return Source("extend", source=found.path)
    return Source("first-last" if shot.to is not None else "image", source=found.path, end=end)


def _refuse_to(to: str, what: str, spot: Spot, report: Report) -> None:
    cure = "begin the shot with a picture, or remove 'to'"
    report.error(
        spot, "to", "to-without-picture", f"{what} can't end on a picture", value=to, cure=cure
    )


def _followed(
    text: str,
    number: int,
    ids: Sequence[str],
    known: Collection[str],
    spot: Spot,
    report: Report,
) -> str | None:
    if text.lower() == "prev":
        if number == 0:
            cure = "remove 'from: prev'"
            report.error(
                spot, "from", "no-shot-before", "no shot stands before the first", cure=cure
            )
            return None
        return ids[number - 1]
    if text in known:
        return text
    if not looks_like_file(text):
        around = ids[max(0, number - NEARBY) : number + NEARBY]
        others = [name for name in around if name != ids[number]]
        cure = "name a picture, a clip, or prev"
        if others:
            cure = did_you_mean(text, others, otherwise=f"{cure}, or a shot:")
        report.error(spot, "from", "unknown-shot", "there is no such shot", value=text, cure=cure)
    return None


def refuse_cycles(
    follows: Mapping[str, str | None], spots: Mapping[str, Spot], report: Report
) -> None:
    """Report each ring of shots that continue each other, once."""
    settled: set[str] = set()
    for start in follows:
        chain: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in settled and at not in chain:
            chain[at] = None
            at = follows.get(at)
        if at is not None and at in chain:
            walked = list(chain)
            ring = walked[walked.index(at) :]
            what = "this shot continues itself"
            if len(ring) > 1:
                what = f"these shots continue each other: {' <- '.join([*ring[:20], ring[0]])}"
            cure = "let one of them begin without 'from'"
            report.error(spots[at], "from", "from-cycle", what, cure=cure)
        settled.update(chain)
