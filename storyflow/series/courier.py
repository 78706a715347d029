"""Messages are carried to one address by a thread of their own: signed, retried, never waited for.

    courier = Courier(Address("https://hooks.example.org/films", secret=b"..."))
    courier.send("start", body)         # returns at once
    lost = courier.close(10)            # waits some seconds, and says what did not arrive

Messages go in their order, one at a time, each until the address has taken it or will not. The
headers are those of Standard Webhooks 1.0 (https://www.standardwebhooks.com): `webhook-id`,
`webhook-timestamp` in Unix seconds, and with a secret `webhook-signature`. Redirects are not
followed: whoever answers could send a signed message anywhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from storyflow.errors import InputError

if TYPE_CHECKING:
    import httpx2

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
"""Seconds between the attempts at one message."""

LONGEST_PAUSE = 60.0
"""Seconds; the address may ask for less, not for more."""

LAST_PAUSE = 0.5
"""Seconds between attempts once everybody waits for the courier."""

MOST_WAITING = 256
"""Messages that wait at once; the oldest ones are given up for newer ones."""

_LATER = frozenset({408, 425, 429})
"""Answers that ask for another attempt, as those from 500 on do."""


@dataclass(frozen=True)
class Address:
    """Where messages go. `timeout` is in seconds, for each step of a request."""

    url: str
    secret: bytes | None = None
    timeout: float = 10.0

    @property
    def name(self) -> str:
        """The address as it may be shown: a path or a password in it can be secret."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port}" if parts.port else f"{host}"


@dataclass(frozen=True)
class Lost:
    """A message that did not arrive, as far as is known, and why."""

    subject: str
    why: str


@dataclass(frozen=True)
class _Message:
    subject: str
    body: bytes
    id: str
    why: str = "there was no time left"


@dataclass(frozen=True)
class _Answer:
    """Why an attempt failed (empty where it didn't), whether another one may help, and when."""

    why: str = ""
    again: bool = False
    pause: float | None = None


def secret_of(text: str) -> bytes:
    """The key in a secret: `whsec_` and base64, or the text's own bytes. Raises InputError."""
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        cure = "write base64 behind whsec_, or a secret without whsec_"
        raise InputError("the webhook's secret is not base64", cure=cure) from None


def signature(secret: bytes, message: str, when: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY` (Standard Webhooks 1.0)."""
    signed = f"{message}.{when}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


class Courier:
    """Carries messages until it is closed; may be used from any thread."""

    def __init__(self, address: Address, pauses: Sequence[float] = PAUSES) -> None:
        self._address, self._pauses = address, tuple(pauses)
        self._waiting: deque[_Message] = deque()
        self._lost: list[_Message] = []
        self._broken = ""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="storyflow webhook", daemon=True)
        self._thread.start()

    def send(self, subject: str, body: Mapping[str, object]) -> None:
        """Let a message go; returns at once. Its id, in `id` too, is the same at each attempt."""
        name = f"msg_{uuid.uuid4().hex}"
        message = _Message(subject, json.dumps({**body, "id": name}).encode(), name)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                # The first one may be on its way.
                self._lost.append(replace(self._waiting[1], why="too many were waiting"))
                del self._waiting[1]
            self._waiting.append(message)
            self._changed.notify()

    def close(self, patience: float) -> tuple[Lost, ...]:
        """Wait up to `patience` seconds for what is on its way; what did not arrive."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join(patience)
        self._given_up.set()
        with self._changed:
            waiting = self._waiting
            if self._broken:
                waiting = deque(replace(message, why=self._broken) for message in waiting)
            gone = (*self._lost, *waiting)
        return tuple(Lost(message.subject, message.why) for message in gone)

    def _work(self) -> None:
        import httpx2

        # httpx tells its log whole addresses.
        log, here = logging.getLogger("httpx2"), threading.get_ident()

        def quiet(record: logging.LogRecord) -> bool:
            return record.thread != here

        log.addFilter(quiet)
        try:
            with httpx2.Client(timeout=self._address.timeout, follow_redirects=False) as client:
                while (message := self._next()) is not None:
                    why = self._carried(client, message)
                    with self._changed:
                        self._waiting.popleft()
                        if why:
                            self._lost.append(replace(message, why=why))
        except Exception as error:
            # Such as proxies or certificates that can't be used: nothing will ever arrive.
            with self._changed:
                self._broken = f"nothing can be sent from here ({type(error).__name__})"
        finally:
            log.removeFilter(quiet)

    def _next(self) -> _Message | None:
        """The next message, which stays the first of those that wait; None when all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            gone = self._given_up.is_set() or not self._waiting
            return None if gone else self._waiting[0]

    def _carried(self, client: httpx2.Client, message: _Message) -> str:
        """Bring a message to its address; why that failed, empty where it is there."""
        why = ""
        for pause in (*self._pauses, None):
            answer = self._attempt(client, message)
            why = answer.why
            if not why or not answer.again or pause is None:
                break
            with self._changed:
                self._waiting[0] = replace(message, why=why)
            if self._paused(min(LONGEST_PAUSE, answer.pause or pause)):
                break
        return why

    def _attempt(self, client: httpx2.Client, message: _Message) -> _Answer:
        import httpx2

        address, when = self._address, str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "user-agent": "storyflow",
            "webhook-id": message.id,
            "webhook-timestamp": when,
        }
        if address.secret is not None:
            headers["webhook-signature"] = signature(address.secret, message.id, when, message.body)
        try:
            # What it says is not read: it could be endless.
            with client.stream(
                "POST", address.url, content=message.body, headers=headers
            ) as response:
                status, asked = response.status_code, response.headers.get("retry-after", "")
        except httpx2.TimeoutException:
            return _Answer(f"no answer within {address.timeout:g} s", True)
        except httpx2.TransportError as error:
            return _Answer(str(error) or type(error).__name__, True)
        if 200 <= status < 300:
            return _Answer()
        if 300 <= status < 400:
            return _Answer(f"it answers {status}, and redirects are not followed")
        later = status in _LATER or status >= 500
        pause = float(asked) if asked.isascii() and asked.isdigit() else None
        return _Answer(f"it answers {status}", later, pause)

    def _paused(self, seconds: float) -> bool:
        """Wait between two attempts, shorter where everybody waits; whether to give up."""
        if self._closing.is_set():
            return self._given_up.wait(min(seconds, LAST_PAUSE))
        self._closing.wait(seconds)
        return self._given_up.is_set()
