"""The text of a lock file: the same for equal locks, one fact per line, made for diffs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from storyflow.lock import Lock, LockedPrompt, LockedShot, LockedTake

HEADER = """\
# Written by storyflow; keep it in git beside the storyboard. What was decided once: ids, seeds,
# rendered windows (frames per segment), takes, and prompts, whose text you may edit here.
"""


def lock_text(lock: Lock) -> str:
    """The content of a lock file: the same text for equal locks, one line per fact."""
    data = {
        "storyflow": 1,
        **({} if lock.seed is None else {"seed": lock.seed}),
        "shots": [_shot_data(shot) for shot in lock.shots],
    }
    return HEADER + yaml.dump(
        data, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=1_000_000
    )


class _Line(dict[str, Any]):
    """A mapping that is written on one line."""


class _Row(list[Any]):
    """A list that is written on one line."""


_PLAIN = re.compile(r"(?!(null|true|false|yes|no|on|off|y|n)$)[a-z]+")


if TYPE_CHECKING:
    _Dumper = yaml.SafeDumper
else:
    _Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml writes three times faster


class _Writer(_Dumper):
    """Quotes all texts but plain words, so that no reader takes the id `1E2` for a number."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None if _PLAIN.fullmatch(text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, data: object) -> bool:
        return True


_Writer.add_representer(str, _Writer.represent_text)
_Writer.add_representer(
    _Line,
    lambda dumper, data: dumper.represent_mapping(
        "tag:yaml.org,2002:map", data.items(), flow_style=True
    ),
)
_Writer.add_representer(
    _Row,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)


def _shot_data(shot: LockedShot) -> dict[str, object]:
    return dict(_shot_items(shot))


def _shot_items(shot: LockedShot) -> Iterator[tuple[str, object]]:
    yield "id", shot.id
    yield "fingerprint", shot.fingerprint
    if shot.chosen is not None:
        yield "chosen", shot.chosen
    yield "takes", [_Line(_take_items(take)) for take in shot.takes]
    if shot.windows:
        yield (
            "windows",
            [_Line(pipeline=w.pipeline, head=w.head, beats=_rows(w.beats)) for w in shot.windows],
        )
    if shot.held is not None:
        held = shot.held
        yield (
            "held",
            {
                "pipeline": held.pipeline,
                "take": held.take,
                "head": held.head,
                "windows": _rows(held.windows),
                "keys": list(held.keys),
                "facts": [_Row(fact) for fact in held.facts],
            },
        )
    if shot.prompts:
        yield (
            "prompts",
            [
                {"profile": each.profile, "beats": [dict(_prompt_items(b)) for b in each.beats]}
                for each in shot.prompts
            ],
        )


def _prompt_items(prompt: LockedPrompt) -> Iterator[tuple[str, object]]:
    yield "text", prompt.text
    if prompt.hand:
        yield "hand", True
    if prompt.provisional:
        yield "provisional", True
    if prompt.source != LockedPrompt.source:
        yield "source", prompt.source
    if prompt.dropped:
        yield "dropped", list(prompt.dropped)
    if prompt.caption:
        yield "caption", prompt.caption
    yield "stamp", prompt.stamp


def _take_items(take: LockedTake) -> Iterator[tuple[str, object]]:
    yield "take", take.take
    yield "seed", take.seed
    if take.branch is not None:
        yield "branch", _Line(take=take.branch.take, segments=take.branch.segments)


def _rows(beats: tuple[tuple[int, ...], ...]) -> _Row:
    return _Row(_Row(beat) for beat in beats)
