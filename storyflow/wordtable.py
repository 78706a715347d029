"""The prompts of a film for people: a page of all words, or word by word what has changed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Literal

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from storyflow.terminal import new_console
from storyflow.wording import Wording, Wordings

Piece = tuple[Literal["same", "gone", "new"], str]

_STYLES = {"same": "", "gone": "red strike", "new": "green"}
_MARKS = {"same": "{}", "gone": "[-{}-]", "new": "{{+{}+}}"}


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """What stayed, went and came, in reading order; whole words with the spaces between them."""
    old, new = _tokens(before), _tokens(after)
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal":
            pieces.append(("same", "".join(old[a:b])))
            continue
        if a < b:
            pieces.append(("gone", "".join(old[a:b])))
        if c < d:
            pieces.append(("new", "".join(new[c:d])))
    return tuple(pieces)


def print_wordings(found: Wordings, *, diff: bool, console: Console | None = None) -> None:
    """All prompts, or with `diff` only those whose words have changed, and a line that counts."""
    console = console or new_console()
    shown = [prompt for prompt in found.prompts if prompt.changed or not diff]
    for prompt in shown:
        console.print(Text(prompt.name, "bold"), Text(_about(prompt), "dim"))
        text = _diff_text(prompt, plain=not console.is_terminal) if diff else Text(prompt.text)
        if console.is_terminal:
            console.print(Padding(text, (0, 0, 0, 4)))
        else:
            console.print(Text("    ") + text, soft_wrap=True)
        if prompt.dropped:
            left = f"    left out to make it fit: {'; '.join(prompt.dropped)}"
            console.print(Text(left, "yellow"), soft_wrap=True)
    for problem in found.notices:
        console.print(Text(f"notice: {problem}", "yellow"), soft_wrap=True)
    console.print(Text(summary(found)), soft_wrap=True)


def summary(found: Wordings) -> str:
    """`12 prompts of toybox: 10 as before, 1 edited by hand, 1 written`."""
    kinds = {
        "as before": sum(not p.changed and not p.hand and not p.provisional for p in found.prompts),
        "edited by hand": sum(p.hand for p in found.prompts),
        "written": sum(p.changed and not p.provisional for p in found.prompts),
        "provisional": sum(p.provisional for p in found.prompts),
    }
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    count = len(found.prompts)
    return f"{count} prompt{'' if count == 1 else 's'} of {found.profile}: {told or 'none'}"


def _about(prompt: Wording) -> str:
    if prompt.hand:
        return f"edited by hand, written by {prompt.source}"
    if prompt.provisional:
        return f"provisional, by {prompt.source}"
    return prompt.source


def _diff_text(prompt: Wording, *, plain: bool) -> Text:
    text = Text()
    for kind, words in word_diff(prompt.before, prompt.text):
        if plain:
            text.append(_marked(kind, words))
        else:
            text.append(words, _STYLES[kind])
    return text


def _marked(kind: str, words: str) -> str:
    """Words in the marks of git's word diff; spaces stay outside."""
    bare = words.strip()
    if kind == "same" or not bare:
        return words
    lead, _, tail = words.partition(bare)
    return f"{lead}{_MARKS[kind].format(bare)}{tail}"


def _tokens(text: str) -> list[str]:
    return list(_words(text))


def _words(text: str) -> Iterator[str]:
    """Words with the space after them, punctuation apart."""
    yield from re.findall(r"[\w'\u2019-]+\s*|[^\w\s]+\s*|\s+", text)
