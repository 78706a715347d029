"""The vocabularies: shot size, angle, view, expression and camera move.

Size, angle and view are SkyCaptioner-V1's words (its system prompt), so that what the captioner
reads back from a clip compares with what was asked for. Crews write short forms; any case and any
of space, hyphen and underscore will do.
"""

from __future__ import annotations

import re

from storyflow.documents import did_you_mean, nearest

SIZES: dict[str, tuple[str, ...]] = {
    "extreme_close_up": ("ECU", "XCU", "BCU", "big close-up", "extreme close-up", "macro",
                         "extreme closeup"),
    "close_up": ("CU", "MCU", "close-up", "closeup", "close", "medium close-up", "insert"),
    "medium_shot": ("MS", "MID", "medium", "mid shot", "waist shot", "two-shot", "2-shot"),
    "full_shot": ("FS", "MLS", "MWS", "MFS", "full", "cowboy", "american", "medium long shot",
                  "medium wide shot", "medium full shot"),
    "long_shot": ("LS", "WS", "ELS", "EWS", "XLS", "VLS", "VWS", "long", "wide", "wide shot",
                  "extreme long shot", "extreme wide shot", "very long shot", "very wide shot",
                  "establishing", "establishing shot"),
    "other": (),
}  # fmt: skip
ANGLES: dict[str, tuple[str, ...]] = {
    "eye_level": ("eye", "EL", "eye line", "straight", "neutral", "level"),
    "high_angle": ("high", "HA", "from above"),
    "low_angle": ("low", "LA", "from below", "worm's eye", "ground level"),
    "dutch_angle": ("dutch", "canted", "dutch tilt", "oblique"),
    "other": (),
}
VIEWS: dict[str, tuple[str, ...]] = {
    "front_view": ("front", "frontal"),
    "back_view": ("back", "rear", "behind", "from behind"),
    "side_view": ("side", "profile"),
    "over_the_shoulder": ("OTS", "OS", "over shoulder", "over-the-shoulder shot"),
    "overhead_view": ("overhead", "top", "top-down", "bird's eye", "birds eye", "top shot"),
    "point_of_view": ("POV", "point-of-view shot", "subjective"),
    "aerial_view": ("aerial", "drone", "helicopter", "air"),
    "overlooking_view": ("overlooking", "overlook"),
    "other": (),
}
FEELINGS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The expressions that the captioner was trained on; other words are kept as they are."""

DUTCH = "dutch_angle"
"""Crews use it, the captioner has no class for it: resolving turns it into "other" and words."""

_VOCABULARIES = {"size": SIZES, "angle": ANGLES, "view": VIEWS}


class UnknownWord(ValueError):
    """A word that a vocabulary does not have; `cure` names the one that was probably meant."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


def _plain(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.strip().lower().replace("\u2019", "'")))


def _spellings(vocabulary: dict[str, tuple[str, ...]]) -> dict[str, str]:
    table: dict[str, str] = {}
    for word, short_forms in vocabulary.items():
        for form in (word, *short_forms):
            table[_plain(form)] = word
    return table


_TABLES = {name: _spellings(vocabulary) for name, vocabulary in _VOCABULARIES.items()}


def word_for(field: str, text: str) -> str:
    """The captioner's word for what a crew writes: `word_for("size", "ECU")`.

    `field` is size, angle or view. Raises UnknownWord with the nearest match.
    """
    plain = _plain(text)
    table = _TABLES[field]
    if plain in table:
        return table[plain]
    for other, other_table in _TABLES.items():
        if plain in other_table:
            raise UnknownWord(f"this is a {other}, not a {field}", f"write '{other}: {text}'")
    forms = [form for word, forms in _VOCABULARIES[field].items() for form in (*forms[:1], word)]
    known = [*forms, *(f for forms_ in _VOCABULARIES[field].values() for f in forms_[1:])]
    cure = did_you_mean(text, known) if nearest(text, known) else f"use one of {', '.join(forms)}"
    raise UnknownWord(f"unknown {field}", cure)


def spellings(field: str) -> list[str]:
    """Every word of a vocabulary as it is usually written, short forms first; for editors."""
    vocabulary = _VOCABULARIES[field]
    return [f for forms in vocabulary.values() for f in forms] + list(vocabulary)


def pattern(field: str) -> str:
    """A regular expression for every accepted spelling in any case; for JSON Schema."""
    forms = ("".join(_any_case(char) for char in plain) for plain in sorted(_TABLES[field]))
    return f"^\\s*({'|'.join(forms)})\\s*$"


def _any_case(char: str) -> str:
    if char == " ":
        return r"[\s_-]+"
    return f"[{char}{char.upper()}]" if char.isalpha() else re.escape(char)


_MOVES: dict[str, str] = {
    "static|locked|locked off|lock off|fixed|still|tripod|none": "the camera is static",
    "handheld|hand held|shaky": "handheld camera",
    "tracking|track|tracking shot|follow|following|follow shot": "the camera follows the subject",
    "dolly in|dolly forward|push in|push|move in|move forward|track in|forward":
        "the camera moves forward",
    "dolly out|dolly back|dolly backward|pull out|pull back|pull|move back|track out|back":
        "the camera moves backward",
    "zoom in": "the camera zooms in",
    "zoom out": "the camera zooms out",
    "dolly zoom|vertigo": "a dolly zoom, the camera moves forward and zooms out",
    "orbit|arc|circle|orbit shot": "the camera orbits around the subject",
}  # fmt: skip
_SIDEWAYS = {
    "pan|whip pan|swish pan": "pans",
    "truck|crab|slide|dolly|track|move": "moves",
    "roll": "rolls",
    "orbit|arc|circle": "orbits",
}
_UPDOWN = {
    "tilt": "tilts",
    "crane|jib": "cranes",
    "pedestal|boom|ped|rise|move": "moves",
}
_SPEEDS = {
    "slow": "slowly", "slowly": "slowly", "gentle": "slowly", "gently": "slowly",
    "fast": "fast", "quick": "fast", "quickly": "fast", "rapid": "fast", "rapidly": "fast",
}  # fmt: skip


def _move_table() -> dict[str, str]:
    table = {form: prose for forms, prose in _MOVES.items() for form in forms.split("|")}
    for verbs, ways in ((_SIDEWAYS, ("left", "right")), (_UPDOWN, ("up", "down"))):
        for forms, verb in verbs.items():
            for form in forms.split("|"):
                for way in ways:
                    table[f"{form} {way}"] = f"the camera {verb} {way}"
    for way in ("left", "right"):
        for whip in ("whip pan", "swish pan"):
            table[f"{whip} {way}"] += " fast"
    return table


_MOVE_TABLE = _move_table()
MOVES: tuple[str, ...] = tuple(_MOVE_TABLE)
"""The camera moves that are turned into prose."""


def move_prose(text: str) -> str:
    """Camera motion as the model reads it: `move_prose("slow pan left")`.

    Known moves, also several joined by comma, "and" or "then", become sentences about the camera;
    anything else is the author's own words and is kept.

    >>> move_prose("slow pan left and tilt up")
    'the camera pans left slowly, then tilts up'
    """
    pieces = re.split(r"\s*(?:,|\+|\band then\b|\bthen\b|\band\b)\s*", text.strip())
    moves = [_one_move(piece) for piece in pieces if piece]
    known = [move for move in moves if move is not None]
    if not known or len(known) < len(moves):
        return text.strip()
    rest = [m.removeprefix("the camera ") if i else m for i, m in enumerate(known)]
    return ", then ".join(rest)


def _one_move(text: str) -> str | None:
    speeds = [_SPEEDS[word] for word in _plain(text).split() if word in _SPEEDS]
    bare = " ".join(word for word in _plain(text).split() if word not in _SPEEDS)
    prose = _MOVE_TABLE.get(bare)
    if prose is None or len(speeds) > 1:
        return None
    return f"{prose} {speeds[0]}" if speeds and not prose.endswith(" fast") else prose


def feeling(text: str) -> str:
    """One of the captioner's expressions in its own spelling, or the author's words."""
    return text.lower() if text.lower() in FEELINGS else text
