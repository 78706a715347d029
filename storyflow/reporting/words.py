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
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    found = [(kind != "equal", "".join(new[i:j])) for kind, _, _, i, j in matcher.get_opcodes()]
    found = [(fresh, text) for fresh, text in found if text]
    pieces: list[Words] = []
    for index, (fresh, text) in enumerate(found):
        # A space between two new words is one piece with them.
        between = not text.strip() and 0 < index < len(found) - 1
        if pieces and pieces[-1].new and (fresh or between):
            pieces[-1] = Words(pieces[-1].text + text, True)
        else:
            pieces.append(Words(text, fresh))
    return tuple(pieces)


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+|\s+|[^\w\s]", text)
