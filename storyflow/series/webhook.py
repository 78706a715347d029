"""The webhook of a series: who is told by POST that a night starts, fails somewhere, and is over.

    async with posting(grounds, tell, night) as tell:
        ...                                          # what `tell` hears is posted, too

Whatever becomes of the messages, the render goes on: nothing here waits or raises before the end,
where some seconds are left for what is still on its way.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from storyflow.errors import InputError
from storyflow.series.courier import PAUSES, Address, Courier, Lost, secret_of
from storyflow.series.dailies.places import page_of, retry_command
from storyflow.series.model import HookUrl, Webhook
from storyflow.series.orders import Grounds
from storyflow.series.told import (
    EpisodeEnded,
    EpisodeResult,
    SeriesBegan,
    SeriesEnded,
    SeriesEvent,
    SeriesNotice,
    SeriesResult,
    Tell,
)

VERSION = 1
"""Of the messages."""

PATIENCE = 10.0
"""Seconds that the end of a call waits for messages that are still on their way."""

MOST_NAMED = 6
"""Messages that a notice names."""

LONGEST_ERROR = 2000
"""Characters of an error in a message."""

FAILURES = ("failed", "partial", "broken")
"""Outcomes that somebody has to look at."""

Body = dict[str, object]


@asynccontextmanager
async def posting(
    grounds: Grounds,
    tell: Tell,
    night: str,
    *,
    patience: float = PATIENCE,
    pauses: Sequence[float] = PAUSES,
) -> AsyncIterator[Tell]:
    """What to tell inside the block: it passes everything on, and posts what the rules ask for.

    `night` is the date of the call's night. What did not arrive is told as notices, at the end.
    """
    webhook = grounds.series.rules.webhook
    if webhook is None:
        yield tell
        return
    try:
        address = address_of(webhook)
    except InputError as error:
        tell(SeriesNotice(f"nothing is sent to the webhook: {error}"))
        yield tell
        return
    courier = Courier(address, pauses)
    herald = Herald(grounds, webhook, night)

    def told(event: SeriesEvent) -> None:
        tell(event)
        try:
            for subject, body in herald.messages(event):
                courier.send(subject, body)
        except Exception as error:
            # A flaw in a message must not look like one of the render.
            tell(SeriesNotice(f"webhook: {type(error).__name__}: {error}"))

    try:
        yield told
    finally:
        lost = await asyncio.to_thread(courier.close, patience)
        for line in _lines(lost, address.name):
            tell(SeriesNotice(line))


def _lines(lost: Sequence[Lost], name: str) -> Iterator[str]:
    """A line for each reason why messages did not arrive."""
    reasons: dict[str, list[str]] = {}
    for each in lost:
        reasons.setdefault(each.why, []).append(each.subject)
    for why, subjects in reasons.items():
        told = ", ".join(subjects[:MOST_NAMED])
        if len(subjects) > MOST_NAMED:
            told += f" and {len(subjects) - MOST_NAMED} more"
        noun = "message" if len(subjects) == 1 else "messages"
        yield f"did not reach the webhook {name}: the {noun} of {told} ({why})"


def address_of(webhook: Webhook) -> Address:
    """Where a webhook is, with its secrets from the environment. Raises InputError."""
    url = webhook.url
    if webhook.url_env is not None:
        text = _from_environment(webhook.url_env)
        try:
            url = TypeAdapter(HookUrl).validate_python(text)
        except ValidationError:
            # Not the value: it is a secret.
            raise InputError(
                f"${webhook.url_env} holds no address of a web server",
                cure="write https://HOST/PATH into it",
            ) from None
    assert url is not None
    secret = None
    if webhook.secret_env is not None:
        secret = secret_of(_from_environment(webhook.secret_env))
    return Address(url, secret, webhook.timeout)


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputError(f"${name} is not set", cure="set it where storyflow is called")
    return value


class Herald:
    """Says what to post of what is told; holds no connection."""

    def __init__(self, grounds: Grounds, webhook: Webhook, night: str) -> None:
        self._grounds, self._on, self._night = grounds, webhook.on, night
        self._began = False

    def messages(self, event: SeriesEvent) -> Iterator[tuple[str, Body]]:
        """The messages that an event makes: their subjects and bodies."""
        for moment, episode, body in self._all(event):
            if moment in self._on:
                subject = f"{moment} of {episode}" if episode else moment
                yield subject, {**self._head(moment), **body}

    def _all(self, event: SeriesEvent) -> Iterator[tuple[str, str, Body]]:
        match event:
            case SeriesBegan():
                self._began = True
                yield "start", "", self._start(event)
            case EpisodeEnded(result=result) if result.outcome in FAILURES:
                yield "failure", result.name, self._failure(result)
            case SeriesEnded(result=result):
                if result.outcome == "failed" and result.error:
                    yield "failure", "", self._breakdown(result)
                if self._began:
                    yield "finish", "", self._finish(result)

    def _head(self, moment: str) -> Body:
        return {
            "storyflow": VERSION,
            "event": moment,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "series": self._grounds.series.series,
            "night": self._night,
            "host": socket.gethostname(),
        }

    def _start(self, event: SeriesBegan) -> Body:
        work = [each for each in event.episodes if each.state in ("render", "cut")]
        segments = sum(len(each.render) for each in work)
        seconds = sum(each.gpu_seconds for each in work)
        count = f"{_many(segments, 'segment')} of {_many(len(work), 'episode')}"
        return {
            "text": f"{event.title}, night of {event.night}: {count} to render",
            "run": event.run,
            "episodes": [each.name for each in work],
            "segments": segments,
            "estimate_gpu_seconds": seconds
            if all(each.timed for each in work if each.render)
            else None,
        }

    def _failure(self, result: EpisodeResult) -> Body:
        title, first = self._grounds.series.series, result.error.partition("\n")[0]
        return {
            "text": f"{title}: {result.name} is {result.outcome}: {first[:300]}",
            "episode": result.name,
            "outcome": result.outcome,
            "error": result.error[:LONGEST_ERROR],
            "retry": retry_command(self._grounds, result.name),
        }

    def _breakdown(self, result: SeriesResult) -> Body:
        first = result.error.partition("\n")[0]
        return {
            "text": f"{result.title}, night of {result.night} broke down: {first[:300]}",
            "episode": None,
            "outcome": result.outcome,
            "error": result.error[:LONGEST_ERROR],
            "retry": None,
        }

    def _finish(self, result: SeriesResult) -> Body:
        counts = Counter(each.outcome for each in result.episodes)
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        return {
            "text": f"{result.title}, night of {result.night}: {result.outcome} ({told})",
            "run": result.run,
            "outcome": result.outcome,
            "error": result.error[:LONGEST_ERROR],
            "counts": dict(counts),
            "episodes": [_row(each) for each in result.episodes if each.outcome != "done"],
            "gpu_seconds": result.gpu_seconds,
            "money": result.money,
            "currency": self._grounds.cluster.currency,
            "dailies": str(page_of(self._grounds, self._night)),
        }


def _row(result: EpisodeResult) -> Body:
    return {
        "episode": result.name,
        "outcome": result.outcome,
        "rendered": result.rendered,
        "reused": result.reused,
        "gpu_seconds": result.gpu_seconds,
        "money": result.money,
        "error": result.error[:LONGEST_ERROR],
    }


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
