"""Whether a text says what was stated, and nothing that speaks against it.

A check of words, not of sense: it knows word stems, what excludes what ("night" and "noon", a
close-up and a long shot), colours and the things that have them, and denials. A text that it
refuses may be right; one that it passes has every stated word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache

from storyflow.prompts.english import (
    CONNECTIVES,
    DETERMINERS,
    PREPOSITIONS,
    PRONOUNS,
    listed,
    tidy,
    words,
)

_SMALL = (
    DETERMINERS
    | PREPOSITIONS
    | CONNECTIVES
    | PRONOUNS
    | listed(
        "is are was were be been being am has have had do does did will would can could may might "
        "him them himself herself itself themselves hers theirs but then while so too very "
        "also just there here when where as"
    )
)
# What the composer puts around facts.
_SCAFFOLD = listed(
    "set setting light lighting style expression say saying there shot view perspective"
)
_DENIALS = listed(
    "no not never none neither nor without nothing nobody nowhere cannot isn't aren't doesn't "
    "don't won't can't wasn't weren't didn't instead"
)
_COLOURS = listed(
    "red orange yellow green cyan blue purple violet magenta pink brown black white grey gray gold "
    "golden silver teal amber navy crimson scarlet turquoise beige maroon olive lime indigo ivory"
)
_RIVALS = (
    (
        listed("night midnight moonlight moonlit nocturnal starlit nighttime"),
        listed("day daylight noon midday sunlight sunlit sunny afternoon daytime"),
        listed("dawn sunrise daybreak"),
        listed("dusk sunset twilight"),
    ),
    (listed("indoors interior"), listed("outdoors exterior")),
    (listed("rain rainy raining drizzle"), listed("cloudless sunny"), listed("snowfall snowing")),
    (listed("monochrome colourless"), listed("colourful colorful")),
)
_FRAMING = (
    {
        "long shot": r"\blong[- ]shot\b",
        "full shot": r"\bfull[- ]shot\b",
        "medium shot": r"\bmedium[- ](?:\w+[- ])?shot\b",
        "extreme close-up": r"\bextreme close[- ]?up\b",
        "close-up": r"(?<!extreme )\bclose[- ]?up\b",
    },
    {
        "eye level": r"\beye[- ]level\b",
        "high angle": r"\bhigh[- ]angle\b",
        "low angle": r"\blow[- ]angle\b",
    },
    {
        "from the front": r"\bfrom the front\b|\bfront[- ]view\b",
        "from behind": r"\bfrom behind\b|\bback[- ]view\b",
        "from the side": r"\bfrom the side\b|\bside[- ]view\b",
        "over the shoulder": r"\bover[- ]the[- ]shoulder\b",
        "overhead": r"\boverhead\b",
        "point of view": r"\bpoint[- ]of[- ]view\b",
        "aerial": r"\baerial\b",
        "overlooking": r"\boverlooking\b",
    },
)
_NO_PROSE = re.compile(r"[{}<>\[\]`|\\*#_=~]|https?:|\x00|[\x01-\x1f\x7f]")
_NEAR = 4
_JOINTS = listed("is are was were of in")


def unsaid(text: str, stated: str) -> tuple[str, ...]:
    """What of a stated text another text does not say, in the words of the former.

    `stated` is a prompt that the composer wrote. Empty where everything is there: every word but
    small ones, in some inflection; every colour on the thing that has it; the framing.
    """
    return tuple(dict.fromkeys(_unsaid(tidy(text), tidy(stated))))


def against(text: str, known: str, *, closed: bool = True) -> tuple[str, ...]:
    """What a text says that can't be true together with what is known; empty where nothing is.

    Denials, framings, times of day and, where the known text is `closed`, colours count, unless it
    has them, too. An addition may bring colours of its own, a retelling may not.
    """
    return tuple(dict.fromkeys(_against(tidy(text), tidy(known), closed)))


def is_prose(text: str) -> bool:
    """Whether a text could be part of a prompt: Latin letters for the most part, no markup."""
    letters = [c for c in text if c.isalpha()]
    strange = sum(ord(c) > 0x24F for c in letters)
    return bool(letters) and strange * 5 <= len(letters) and _NO_PROSE.search(text) is None


def content(text: str) -> tuple[str, ...]:
    """The stems of a text's words, in order, without the small ones."""
    return tuple(stem(word) for word in words(text) if _bare(word) not in _SMALL)


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """What inflections of a word have in common: "run" of running and runs."""
    word = _bare(word)
    for end, instead in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ing", ""), ("ed", "")):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return _plain(word[: -len(end)] + instead)
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    return _plain(word)


def _plain(word: str) -> str:
    """Without a doubled last consonant and a silent e."""
    if word.endswith("e") and len(word) > 3:
        return word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeious":
        return word[:-1]
    return word


def _bare(word: str) -> str:
    return re.sub(r"['\u2019]s?$", "", word)


def _unsaid(text: str, stated: str) -> Iterator[str]:
    said = set(content(text))
    for word in words(_without_framing(stated)):
        root = stem(word)
        parts = [stem(part) for part in re.split(r"[-'\u2019]", word) if part]
        present = root in said or said.issuperset(p for p in parts if p not in _SMALL)
        if _bare(word) not in _SMALL and root not in _SCAFFOLD_STEMS and not present:
            yield word
    has = set(_coloured(text))
    for colour, thing in _nearest_coloured(stated):
        if (colour, thing) not in has:
            yield f"{colour} {thing}"
    for group in _FRAMING:
        for name, pattern in group.items():
            if _finds(pattern, stated) and not _finds(pattern, text):
                yield name


def _against(text: str, known: str, closed: bool) -> Iterator[str]:
    found, true = set(words(text.replace("\u2019", "'"))), set(words(known.replace("\u2019", "'")))
    yield from sorted((found & _DENIALS) - true)
    if closed:
        yield from sorted(found & _COLOURS - true - {"golden", "silver"})
    for group in _RIVALS:
        for kind in group:
            others = set().union(*(other for other in group if other is not kind))
            if true & others and not true & kind:
                yield from sorted(found & kind)
    for framings in _FRAMING:
        stated = [name for name, pattern in framings.items() if _finds(pattern, known)]
        if stated:
            for name, pattern in framings.items():
                if name not in stated and _finds(pattern, text):
                    yield name


def _coloured(text: str) -> Iterator[tuple[str, str]]:
    """Every colour with each of the few words after it, one of which has it, and with the word that
    is said to be of it."""
    for clause in re.split(r"[,;.:!?]", text):
        found = words(clause)
        for at, word in enumerate(found):
            if word in _COLOURS:
                for near in found[at + 1 : at + 1 + _NEAR]:
                    yield word, stem(near)
                if at > 1 and found[at - 1] in _JOINTS:
                    yield word, stem(found[at - 2])


def _nearest_coloured(text: str) -> Iterator[tuple[str, str]]:
    """Every colour with the word that follows it."""
    for clause in re.split(r"[,;.:!?]", text):
        found = words(clause)
        for word, following in itertools.pairwise(found):
            if word in _COLOURS and following not in _SMALL and following not in _COLOURS:
                yield word, stem(following)


def _without_framing(text: str) -> str:
    """The text without the words that its framing is told in, of which there are several."""
    for framings in _FRAMING:
        for pattern in framings.values():
            text = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return text


def _finds(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None


_SCAFFOLD_STEMS = frozenset(stem(word) for word in _SCAFFOLD)
