"""Camera moves as directors write them become clauses: "the camera cranes up slowly"."""

from __future__ import annotations

import re

from storyflow.prompts.english import fragment, listed

_VERBS = listed(
    "pan tilt zoom crane boom jib dolly track truck push pull orbit arc circle roll follow lead "
    "rise descend climb drop fall sink lift move fly drift float glide swing sweep rotate "
    "spin turn swoop creep race rush retreat back advance approach hold stay stop start begin shake "
    "sway wobble rock rack focus whip snap pass pedestal slide travel settle linger reveal"
)
_STATES = listed(
    "static still fixed locked locked-off motionless steady handheld hand-held shaky stationary "
    "unsteady"
)
_ADVERBS = {
    "slow": "slowly",
    "quick": "quickly",
    "rapid": "rapidly",
    "gentle": "gently",
    "smooth": "smoothly",
    "sudden": "suddenly",
    "abrupt": "abruptly",
    "subtle": "subtly",
    "fast": "fast",
}
_PAIRS = {"dolly zoom": "dolly zooms", "whip pan": "whip pans", "crash zoom": "crash zooms"}
_JOINT = re.compile(r"(\s*[,;+]\s*(?:(?:and|then)\s+)*|\s+(?:and|then|and then)\s+)")


def motion(move: str) -> str:
    """A camera move as a clause for `ShotCaption.camera_motion`.

    >>> motion("crane up slow")
    'the camera cranes up slowly'
    >>> motion("static, then pan left")
    'the camera is static, then pans left'

    A move that already speaks of the camera, or that isn't understood, keeps its own words.
    """
    text = fragment(move)
    if not text or re.search(r"\b(camera|shot|lens|drone|steadicam)\b", text, re.IGNORECASE):
        return f"a {text}" if re.match(r"\w+ing shot", text) else text
    pieces = _JOINT.split(text)
    clauses = [_clause(piece) for piece in pieces[::2]]
    if not clauses[0]:
        return f"the camera movement is {text}"
    said = [clause or piece for clause, piece in zip(clauses, pieces[::2], strict=True)]
    said[1:] = [
        text.removeprefix("is ") if said[0].startswith("is ") else text for text in said[1:]
    ]
    joints = [*(_plain(joint) for joint in pieces[1::2]), ""]
    return "the camera " + "".join(f"{a}{b}" for a, b in zip(said, joints, strict=True))


def _clause(text: str) -> str:
    """One move as what the camera does or is; empty if it isn't understood."""
    found = text.split()
    lead = []
    while found and found[0].lower() in _ADVERBS and len(found) > 1:
        lead.append(_ADVERBS[found.pop(0).lower()])
    if not found:
        return ""
    found = [_ADVERBS.get(word.lower(), word) if n else word for n, word in enumerate(found)]
    if "-" in found[0] and found[0].split("-")[0].lower() in _VERBS:
        found[:1] = found[0].split("-")
    first, rest = found[0].lower(), found[1:]
    pair = " ".join(found[:2]).lower()
    if pair in _PAIRS:
        verb, rest = _PAIRS[pair], found[2:]
    elif first in _STATES or first.endswith("ing"):
        verb = f"is {first}"
    elif first in _VERBS:
        verb = _third_person(first)
    elif _stem(first) in _VERBS:
        verb = first
    elif first in _ADVERBS:
        verb = f"moves {_ADVERBS[first]}"
    else:
        return ""
    return " ".join([verb, *rest, *lead])


def _third_person(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeo":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "sh", "ch", "x")) else f"{verb}s"


def _stem(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    stem = word.removesuffix("s")
    return stem if stem in _VERBS else stem.removesuffix("e")


def _plain(joint: str) -> str:
    """A connective in prose: "+" is "and"."""
    return " and " if "+" in joint else re.sub(r"\s+", " ", joint)
