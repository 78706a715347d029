"""What a beat's prompt says that the one before didn't."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from storyflow.reporting.facts import Words


def differences(before: str, after: str) -> tuple[Words, ...]:
    """The pieces of `after`, marked where `before` differs; nothing is new without a `before`.

    >>> differences("a red ball", "a blue ball")
    (Words(text='a ', new=False), Words(text='blue', new=True), Words(text=' ball', new=False))
    """
    if not before:
        return (Words(after),) if after else ()
    old, new = _tokens(before), _tokens(after)
    pieces: list[Words] = []
    for kind, _, _, start, stop in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        text = "".join(new[start:stop])
        if text:
            pieces.append(Words(text, kind != "equal"))
    return tuple(pieces)


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+|\s+|[^\w\s]", text)
