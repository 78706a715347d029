"""The kinds of values that stand in a storyboard, each with its check and its JSON Schema.

Each check raises `PydanticCustomError(code, what, {"cure": …})`, which becomes a Problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from storyflow.documents import did_you_mean
from storyflow.storyboard import grammar
from storyflow.storyboard.cues import Cue, is_color, parse_cue
from storyflow.storyboard.resolved import TitleStyle as TitleStyleName
from storyflow.timing import Duration, Size, parse_duration, parse_rate, parse_size

LONGEST_TEXT = 5000
LONGEST_SECONDS = 24 * 3600
BIGGEST_SEED = 2**63 - 1

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NAME = re.compile(r"\w+(-\w+)*")
_ID = re.compile(r"\w[\w.:-]*")


def wrong(code: str, what: str, cure: str, **context: Any) -> PydanticCustomError:
    """An error that `problems_of` turns into a Problem of this code."""
    return PydanticCustomError(code, "{what}", {"what": what, "cure": cure, **context})


def text_of(value: object) -> str:
    """One line of text; numbers are taken as they were written."""
    return " ".join(_raw_text(value).split())


def lines_of(value: object) -> str:
    """Text that keeps its line breaks."""
    return "\n".join(" ".join(line.split()) for line in _raw_text(value).splitlines())


def _raw_text(value: object) -> str:
    quote = "quote the text"
    if value is None:
        raise wrong("empty-text", "there is no text here", "write it, or remove the key")
    if isinstance(value, Mapping):
        raise wrong("unquoted-colon", "expected text, found keys and values", quote)
    if isinstance(value, list | tuple):
        raise wrong("unquoted-symbol", "expected text, found a list", quote)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise wrong("wrong-type", "expected text", quote)
    text = str(value)
    if not text.strip():
        raise wrong("empty-text", "the text is empty", "write it, or remove the key")
    if len(text) > LONGEST_TEXT:
        length = f"{len(text):,} characters"
        what = f"the text is longer than {LONGEST_TEXT:,} characters"
        raise wrong("long-text", what, "shorten it", value=length)
    if found := _CONTROL.search(text):
        what = f"the character U+{ord(found[0]):04X} can't stand in text"
        raise wrong("control-character", what, "remove it")
    return text


def _id(value: object) -> str:
    text = text_of(value)
    if text.lower() == "prev":
        raise wrong("bad-id", "'prev' means the shot before", "choose another id")
    if not _ID.fullmatch(text) or len(text) > 64:
        cure = "use at most 64 letters, digits and . _ : -, such as 1A"
        raise wrong("bad-id", "this can't be an id", cure)
    return text


def _name(value: object) -> str:
    text = text_of(value).removeprefix("@")
    if not _NAME.fullmatch(text):
        cure = "use letters, digits and hyphens, such as keeper"
        raise wrong("bad-name", "this can't be a name", cure)
    return text


def _names(value: object) -> tuple[str, ...]:
    if value is None:
        raise wrong("wrong-type", "expected names", "write 'who: [keeper]', or 'who: []'")
    if isinstance(value, list | tuple):
        return tuple(_name(each) for each in value)
    return tuple(_name(each) for each in text_of(value).split(","))


def _duration(value: object) -> Duration:
    try:
        duration = parse_duration(value)
    except ValueError as error:
        raise wrong("bad-duration", "this is no time", str(error)) from None
    seconds = duration.seconds
    if (seconds is None) == (duration.frames is None) or (seconds or duration.frames or 0) < 0:
        cure = "write seconds (8 or 8s), minutes and seconds (1:30) or frames (192f)"
        raise wrong("bad-duration", "this is no time", cure)
    if (seconds or 0) > LONGEST_SECONDS or (duration.frames or 0) > LONGEST_SECONDS * 24:
        raise wrong("absurd-duration", "this is longer than a day", "check the unit")
    if seconds is not None and (seconds * 1_000_000).denominator != 1:
        cure = "write frames (192f) or a decimal number of seconds"
        raise wrong("bad-duration", "seconds have at most six decimals", cure)
    return duration


def _length(value: object) -> Duration:
    duration = _duration(value)
    if not (duration.seconds or duration.frames):
        raise wrong("absurd-duration", "this lasts no time at all", "give it at least one frame")
    return duration


def _handles(value: object) -> Duration:
    duration = _duration(value)
    if (duration.seconds or 0) > 10 or (duration.frames or 0) > 600:
        cure = "handles are usually 12f; ten seconds are the most"
        raise wrong("absurd-handles", "handles as long as this are a mistake", cure)
    return duration


def _rate(value: object) -> Fraction:
    try:
        return value if isinstance(value, Fraction) and value > 0 else parse_rate(value)
    except ValueError as error:
        raise wrong("bad-fps", "this is no frame rate", str(error)) from None


def _frame(value: object) -> Size:
    try:
        return parse_size(value)
    except ValueError as error:
        raise wrong("bad-frame", "this is no picture size", str(error)) from None


def _cue(value: object) -> Cue:
    if isinstance(value, Cue):
        return value
    try:
        cue = parse_cue(text_of(value))
    except grammar.UnknownWord as error:
        raise wrong("bad-transition", str(error), error.cure) from None
    if cue.kind != "cut":
        _length(cue.dur)
    return cue


def _word(field: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        try:
            return grammar.word_for(field, text_of(value))
        except grammar.UnknownWord as error:
            raise wrong(f"unknown-{field}", str(error), error.cure) from None

    return check


def _whole(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong("wrong-type", "expected a whole number", f"write one from {low} to {high}")
        if not low <= value <= high:
            raise wrong("out-of-range", f"expected {low} to {high}", "choose one in this range")
        return int(value)

    return check


def _fit(value: object) -> str:
    text = text_of(value).lower()
    if text not in ("crop", "pad"):
        raise wrong("unknown-fit", "unknown fit", "use crop or pad")
    return text


_STYLES: dict[str, TitleStyleName] = {
    "center": "center",
    "centre": "center",
    "lower-third": "lower-third",
    "card": "card",
}


def _title_style(value: object) -> TitleStyleName:
    text = "-".join(re.split(r"[\s_-]+", text_of(value).lower()))
    if text not in _STYLES:
        cure = did_you_mean(text, _STYLES, otherwise="use one of")
        raise wrong("unknown-title-style", "titles are not shown like this", cure)
    return _STYLES[text]


def _color(value: object) -> str:
    text = text_of(value).lower()
    if not is_color(text):
        raise wrong("unknown-color", "unknown colour", 'use black, white or "#204060"')
    return text


def _version(value: object) -> int:
    if isinstance(value, bool) or str(value).strip() != "1":
        cure = "update storyflow, or write 'storyflow: 1'"
        raise wrong("unknown-version", "this storyflow reads storyboards of version 1", cure)
    return 1


def _vocabulary(field: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"enum": grammar.spellings(field)},
                {"type": "string", "pattern": grammar.pattern(field)},
            ]
        }
    )


_TEXT = {"type": ["string", "number"]}
_TIME = {
    "type": ["string", "number"],
    "pattern": r"^\s*(\d+[fF]|(\d+:)?\d+:\d{1,2}(\.\d+)?|\d+(\.\d+)?\s*[sS]?)\s*$",
    "minimum": 0,
    "examples": ["8s", "1:30", "192f"],
}

Text = Annotated[str, PlainValidator(text_of), WithJsonSchema(_TEXT)]
Lines = Annotated[str, PlainValidator(lines_of), WithJsonSchema(_TEXT)]
Id = Annotated[str, PlainValidator(_id), WithJsonSchema({**_TEXT, "examples": ["1A", "2C"]})]
Name = Annotated[str, PlainValidator(_name), WithJsonSchema(_TEXT)]
Names = Annotated[
    tuple[str, ...],
    PlainValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _TEXT}, _TEXT]}),
]
Time = Annotated[Duration, PlainValidator(_duration), WithJsonSchema(_TIME)]
Length = Annotated[Duration, PlainValidator(_length), WithJsonSchema(_TIME)]
Handles = Annotated[
    Duration, PlainValidator(_handles), WithJsonSchema({**_TIME, "examples": ["12f"]})
]
Rate = Annotated[
    Fraction,
    PlainValidator(_rate),
    WithJsonSchema({"type": ["string", "number"], "examples": [24, 23.976, 25]}),
]
Frame = Annotated[
    Size,
    PlainValidator(_frame),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+\s*[xX*]\s*\d+\s*$", "examples": ["960x544"]}
    ),
]
Transition = Annotated[
    Cue,
    PlainValidator(_cue),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["cut", "dissolve 1s", "wipe left 1s", "fade black 1s", "fade white 2s"],
            "pattern": r"^\s*([cC][uU][tT]|[dD][iI][sS][sS][oO][lL][vV][eE]|[fF][aA][dD][eE]"
            r"|[wW][iI][pP][eE]\s+([lL][eE][fF][tT]|[rR][iI][gG][hH][tT]|[uU][pP]"
            r"|[dD][oO][wW][nN]))\b",
        }
    ),
]
ShotSize = Annotated[str, PlainValidator(_word("size")), _vocabulary("size")]
ShotAngle = Annotated[str, PlainValidator(_word("angle")), _vocabulary("angle")]
ShotView = Annotated[str, PlainValidator(_word("view")), _vocabulary("view")]
Move = Annotated[
    str,
    PlainValidator(text_of),
    WithJsonSchema({"anyOf": [{"enum": sorted(grammar.MOVES)}, _TEXT]}),
]
Feeling = Annotated[
    str,
    PlainValidator(lambda value: grammar.feeling(text_of(value))),
    WithJsonSchema({"anyOf": [{"enum": list(grammar.FEELINGS)}, _TEXT]}),
]
Fit = Annotated[str, PlainValidator(_fit), WithJsonSchema({"enum": ["crop", "pad"]})]
TitleStyle = Annotated[
    TitleStyleName,
    PlainValidator(_title_style),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["center", "lower third", "card"]},
                {
                    "type": "string",
                    "pattern": r"^\s*([cC][eE][nN][tT]([eE][rR]|[rR][eE])|[cC][aA][rR][dD]"
                    r"|[lL][oO][wW][eE][rR][\s_-]+[tT][hH][iI][rR][dD])\s*$",
                },
            ]
        }
    ),
]
Color = Annotated[
    str,
    PlainValidator(_color),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["black", "white", "#204060"],
            "pattern": r"^\s*([bB][lL][aA][cC][kK]|[wW][hH][iI][tT][eE]|#[0-9a-fA-F]{6})\s*$",
        }
    ),
]
Takes = Annotated[
    int,
    PlainValidator(_whole(1, 99)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 99}),
]
Seed = Annotated[
    int,
    PlainValidator(_whole(0, BIGGEST_SEED)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": BIGGEST_SEED}),
]
Version = Annotated[int, PlainValidator(_version), WithJsonSchema({"enum": [1, "1"]})]
Reference = Annotated[str, PlainValidator(text_of), WithJsonSchema(_TEXT)]
