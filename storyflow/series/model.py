"""A series as its author wrote it: the bible that its episodes inherit, the episodes, the rules.

    series = load_series("series.yaml")
    series.bible.cast["keeper"].look

The docstrings of the fields are what editors show.
"""

from __future__ import annotations

import math
import re
from datetime import time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, WithJsonSchema

from storyflow.documents import did_you_mean
from storyflow.storyboard import fields as f
from storyflow.storyboard.model import Authored, CastMember, Defaults, PlaceLook

DEFAULT_PIPELINE = "toybox"


def _clock(value: object) -> time:
    if isinstance(value, time):
        return value
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", f.text_of(value))
    if match is None:
        raise f.wrong("bad-hour", "this is no time of day", "write hours and minutes: 22:00")
    return time(int(match[1]), int(match[2]))


def _zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    text = f.text_of(value)
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, LookupError):
        from zoneinfo import available_timezones

        # By its last part first: people remember the town.
        towns = {zone.rpartition("/")[2].lower(): zone for zone in available_timezones()}
        town = text.rpartition("/")[2].lower().replace(" ", "_")
        cure = f"did you mean '{towns[town]}'?" if town in towns else "write one: Europe/Vienna"
        raise f.wrong("unknown-zone", "no such time zone", cure) from None


def _positive(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise f.wrong("out-of-range", "expected a number above 0", "write one, such as 20")
    return float(value)  # type: ignore[arg-type]


def _how_many(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise f.wrong("out-of-range", "expected 1 to 1000", "choose one in this range")
    return int(value)


def _on_failure(value: object) -> str:
    text = f.text_of(value).lower()
    if text not in ("leave", "retry"):
        cure = did_you_mean(text, ("leave", "retry"))
        raise f.wrong("unknown-word", "this is not what can be done with failures", cure)
    return text


def _hook_url(value: object) -> str:
    text = f.text_of(value)
    # Host and port are no scheme: hooks.example.org:8443/x.
    url = text if re.match(r"[A-Za-z][\w+.-]*://", text) else f"https://{text}"
    cure = "write https://HOST/PATH"
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(letter.isspace() for letter in url):
        raise f.wrong("bad-url", "this is no address of a web server", cure)
    return url


def _variable(value: object) -> str:
    text = f.text_of(value).removeprefix("$")
    if not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII):
        cure = "name one, such as STORYFLOW_WEBHOOK_SECRET; its value stays out of this file"
        raise f.wrong("bad-variable", "this is no environment variable", cure)
    return text


def _moments(value: object) -> tuple[str, ...]:
    if value is None:
        raise f.wrong("wrong-type", "expected words", f"write some of {', '.join(MOMENTS)}")
    many = value if isinstance(value, list | tuple) else f.text_of(value).split(",")
    words = tuple(f.text_of(each).lower() for each in many)
    for word in words:
        if word not in MOMENTS:
            cure = did_you_mean(word, MOMENTS)
            raise f.wrong("unknown-word", f"a webhook can't be told of '{word}'", cure)
    if not words:
        raise f.wrong("empty-list", "this webhook is told of nothing", "remove the webhook")
    return tuple(word for word in MOMENTS if word in words)


MOMENTS = ("start", "finish", "failure")
"""What a webhook can be told of."""

_HOUR = {"type": "string", "pattern": r"^\s*([01]?\d|2[0-3]):[0-5]\d\s*$", "examples": ["22:00"]}
_ZONE = {"type": "string", "examples": ["Europe/Vienna", "UTC"]}
_AMOUNT = {"type": "number", "exclusiveMinimum": 0}
Hour = Annotated[time, PlainValidator(_clock), WithJsonSchema(_HOUR)]
Zone = Annotated[ZoneInfo, PlainValidator(_zone), WithJsonSchema(_ZONE)]
Positive = Annotated[float, PlainValidator(_positive), WithJsonSchema(_AMOUNT)]
AtOnce = Annotated[
    int,
    PlainValidator(_how_many),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1000}),
]
OnFailure = Annotated[
    Literal["leave", "retry"],
    PlainValidator(_on_failure),
    WithJsonSchema({"type": "string", "enum": ["leave", "retry"]}),
]
HookUrl = Annotated[
    str,
    PlainValidator(_hook_url),
    WithJsonSchema({"type": "string", "examples": ["https://hooks.example.org/films"]}),
]
Variable = Annotated[
    str,
    PlainValidator(_variable),
    WithJsonSchema({"type": "string", "examples": ["STORYFLOW_WEBHOOK_SECRET"]}),
]
Moments = Annotated[
    tuple[str, ...],
    PlainValidator(_moments),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"enum": list(MOMENTS)}, "minItems": 1},
                {"type": "string", "examples": ["failure"]},
            ]
        }
    ),
]
Settings = tuple[f.Text, ...]


class Inherited(Authored):
    """What a film takes from its series where its storyboard says nothing.

    `style` and `avoid` come before the storyboard's own; of all else the storyboard's wins.
    """

    style: f.Text | None = None
    """Style, before that of the storyboards: 35mm film, muted teal."""
    avoid: f.Text | None = None
    """What should not be seen anywhere, before what the storyboards avoid."""
    frame: f.Frame | None = None
    """The picture's size, where a storyboard names none."""
    fps: f.Rate | None = None
    """Frames per second, where a storyboard says nothing."""
    handles: f.Handles | None = None
    """Frames rendered before and after each shot, where a storyboard says nothing."""
    defaults: Defaults | None = None
    """What shots say when their storyboard's defaults say nothing."""
    cast: dict[f.Name, CastMember] = Field(default_factory=dict)
    """The characters by name. A storyboard's own of the same name counts instead."""
    places: dict[f.Name, PlaceLook] = Field(default_factory=dict)
    """The places by name. A storyboard's own of the same name counts instead."""
    pipeline: f.Text | None = None
    """The pipeline profile: a shipped name, or a file from the series file's folder."""
    settings: Settings = ()
    """Profile fields, overridden: forcing.steps=20."""


class Bible(Inherited):
    """What all episodes share."""

    note: f.Lines | None = None
    """A note to people."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Amount(Authored):
    """A limit in GPU-hours, in money, or in both: whichever is reached first."""

    gpu_hours: Positive | None = None
    """GPU-hours; worker-hours where there are no GPUs."""
    money: Positive | None = None
    """Money, in the cluster file's currency; the cluster file has the price."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Episode(Inherited):
    """One film of the series, or several with the same wishes. A plain text is its storyboard."""

    bare: ClassVar[str | None] = "file"
    file: f.Text
    """The storyboard, or several by a pattern, in the order of their names: episodes/*.yaml."""
    name: f.Name | None = None
    """The episode's name in commands and folders. Without: the file's."""
    priority: Positive = 1.0
    """Part of the workers while several episodes are rendered: 2 holds twice those of 1. The
    higher comes first, too."""
    budget: Amount | None = None
    """What this episode may use in one night, instead of what the rules say."""
    note: f.Lines | None = None
    """A note to people."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Budgets(Authored):
    """How much may be used."""

    night: Amount | None = None
    """In one night, all episodes together."""
    episode: Amount | None = None
    """In one night, each episode."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Window(Authored):
    """The hours in which may be rendered; they may go past midnight."""

    from_: Annotated[Hour, Field(alias="from")]
    """When rendering may begin: 22:00."""
    to: Hour
    """When nothing new is begun any more: 06:00."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Webhook(Authored):
    """An address that is told what becomes of a night. A plain text is its `url`."""

    bare: ClassVar[str | None] = "url"
    url: HookUrl | None = None
    """Where to send to. Without a scheme it is https."""
    url_env: Variable | None = None
    """The environment variable that holds the address, where that is a secret itself."""
    on: Moments = MOMENTS
    """What to send: start, finish, failure. Without: all."""
    secret_env: Variable | None = None
    """The environment variable that holds the secret to sign with. Without: nothing is signed."""
    timeout: Positive = 10.0
    """Seconds that the address may take to answer. Without: 10."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Rules(Authored):
    """When, where and for how much a series is rendered."""

    budget: Budgets | None = None
    """What may be used in a night."""
    window: Window | None = None
    """The hours in which may be rendered. Without: always."""
    zone: Zone = ZoneInfo("UTC")
    """The time zone of the window and of the nights. Without: UTC."""
    at_once: AtOnce = 4
    """How many episodes are rendered at the same time. Without: 4."""
    on_failure: OnFailure = "leave"
    """Segments that failed for good: leave them until `storyflow series retry`, or retry them in
    the next night. Without: leave."""
    store: f.Text | None = None
    """Finished segments: a folder from the series file's, or a URL. Without: the cluster file's."""
    cluster: f.Text | None = None
    """The cluster file: a shipped name, or a file from the series file's folder. Without: local."""
    out: f.Text | None = None
    """The folder of the films, from the series file's folder. Without: renders/SERIES."""
    ledger: f.Text | None = None
    """The file of the accounts, from the series file's folder. Without: beside the store."""
    webhook: Webhook | None = None
    """Who is told of starts, ends and failures, by POST. Without: nobody."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Series(Authored):
    """Films that are rendered together, night by night."""

    storyflow: f.Version = 1
    """The version of this format."""
    series: f.Text
    """The title of the series; two in one store need different ones."""
    note: f.Lines | None = None
    """A note to people."""
    bible: Bible = Bible()
    """What all episodes share."""
    episodes: tuple[Episode, ...]
    """The storyboards, in order: files, patterns, or either with wishes of their own."""
    rules: Rules = Rules()
    """When, where and for how much it is rendered."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...
