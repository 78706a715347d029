"""The webhook of a series: what is sent, how it is signed and retried, and what ends it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hooked import Answer, Listener, listening
from test_series_plan import NOW, SERIES, series_in

from storyflow.errors import InputError
from storyflow.series import render, webhook
from storyflow.series.courier import MOST_WAITING, Address, Courier, secret_of, signature
from storyflow.series.orders import Grounds, Where
from storyflow.series.plan import EpisodePlan
from storyflow.series.render import render_series
from storyflow.series.told import (
    EpisodeEnded,
    EpisodeResult,
    SeriesBegan,
    SeriesEnded,
    SeriesEvent,
    SeriesNotice,
    SeriesResult,
)
from storyflow.series.webhook import posting

NIGHT = "2026-01-10"
FIELDS = {
    "start": {"run", "episodes", "segments", "estimate_gpu_seconds"},
    "failure": {"episode", "outcome", "error", "retry"},
    "finish": {"run", "outcome", "error", "counts", "episodes", "gpu_seconds", "money", "currency",
               "dailies"},
}  # fmt: skip
"""What messages have besides what all have; programs rely on it."""

AT_ONCE = (0.0,) * 4
PATIENCE = 60.0
"""Seconds; tests in which all arrives never wait for it."""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def grounds_with(folder: Path, webhook: str) -> Grounds:
    text = SERIES.replace("rules: {", f"rules: {{webhook: {webhook}, ")
    return Grounds(series_in(folder, text), Where(store=folder / "my store"))


def row(name: str, state: str, segments: int = 0) -> EpisodePlan:
    render = tuple(f"{name}/{number}" for number in range(segments))
    return EpisodePlan(name, f"{name}.yaml", 0, 1.0, state, render=render, timed=True)  # type: ignore[arg-type]


BEGAN = SeriesBegan("Shapes", NIGHT, 7, (row("e1", "render", 2), row("e2", "done")))
FAILED = EpisodeResult("e1", "partial", 1, 0, 12.5, 0.25, error="1B/1 fails\nas scripted")
ENDED = SeriesResult(
    "Shapes", NIGHT, "partial", (FAILED, EpisodeResult("e2", "done")), 13.0, 0.3, run=7
)
EVENTS = (BEGAN, EpisodeEnded(FAILED), SeriesEnded(ENDED))


def posted(
    grounds: Grounds,
    events: tuple[SeriesEvent, ...] = EVENTS,
    patience: float = PATIENCE,
    before_the_end: Callable[[], object] = lambda: None,
) -> list[str]:
    """Tell these events; the notices that came of it."""
    told: list[SeriesEvent] = []

    async def tell() -> None:
        async with posting(grounds, told.append, NIGHT, patience=patience, pauses=AT_ONCE) as say:
            for event in events:
                say(event)
            before_the_end()

    asyncio.run(tell())
    assert [each for each in told if not isinstance(each, SeriesNotice)] == list(events)
    return [each.text for each in told if isinstance(each, SeriesNotice)]


def hanging(over: threading.Event) -> Answer:
    """The first request gets no answer before it is `over`."""

    def answer(number: int, _: object) -> int:
        if number == 0:
            over.wait()
        return 200

    return answer


def test_start_failure_and_finish_are_told_in_this_order(tmp_path):
    with listening() as listener:
        grounds = grounds_with(tmp_path, f"'{listener.url}'")
        assert posted(grounds) == []
    assert listener.events == ["start", "failure", "finish"]
    start, failure, finish = (each.data for each in listener.got)
    head = {"storyflow", "event", "id", "at", "series", "night", "host", "text"}
    for each in (start, failure, finish):
        assert set(each) == head | FIELDS[each["event"]]
        assert (each["storyflow"], each["series"], each["night"]) == (1, "Shapes", NIGHT)
    assert (start["episodes"], start["segments"], start["run"]) == (["e1"], 2, 7)
    assert start["text"] == "Shapes, night of 2026-01-10: 2 segments of 1 episode to render"
    assert (failure["episode"], failure["outcome"]) == ("e1", "partial")
    assert failure["error"] == "1B/1 fails\nas scripted"
    assert failure["text"] == "Shapes: e1 is partial: 1B/1 fails"
    store = tmp_path / "my store"
    assert failure["retry"] == (
        f"storyflow series retry {tmp_path}/series.yaml e1 --store '{store}'"
    )
    assert (finish["outcome"], finish["counts"]) == ("partial", {"partial": 1, "done": 1})
    assert [each["episode"] for each in finish["episodes"]] == ["e1"]
    assert (finish["gpu_seconds"], finish["money"], finish["currency"]) == (13.0, 0.3, "USD")
    assert finish["dailies"].endswith(f"/dailies/{NIGHT}.html")


@pytest.mark.parametrize(
    ("on", "events", "sent"),
    [
        ("finish", EVENTS, ["finish"]),
        ("[failure, start]", EVENTS, ["start", "failure"]),
        ("failure", (SeriesEnded(SeriesResult("Shapes", NIGHT, "busy")),), []),
        ("finish", (SeriesEnded(SeriesResult("Shapes", NIGHT, "complete")),), []),
        (
            "failure",
            (SeriesEnded(SeriesResult("Shapes", NIGHT, "failed", error="no store")),),
            ["failure"],
        ),
        ("failure", (EpisodeEnded(EpisodeResult("e1", "complete")),), []),
        ("failure", (EpisodeEnded(EpisodeResult("e1", "budget")),), []),
    ],
)
def test_only_what_it_wants_is_sent_and_nothing_of_calls_that_had_nothing_to_do(
    tmp_path, on, events, sent
):
    with listening() as listener:
        grounds = grounds_with(tmp_path, f"{{url: '{listener.url}', on: {on}}}")
        assert posted(grounds, events) == []
    assert listener.events == sent


@pytest.mark.parametrize("secret", ["plain words", "whsec_" + base64.b64encode(b"key").decode()])
def test_a_secret_signs_every_attempt_and_is_nowhere_else(tmp_path, monkeypatch, secret, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_SECRET", secret)
    key = b"key" if secret.startswith("whsec_") else secret.encode()
    with listening(lambda number, _: 500 if number == 0 else 200) as listener:
        options = f"{{url: '{listener.url}', secret_env: HOOK_SECRET, on: start}}"
        assert posted(grounds_with(tmp_path, options)) == []
    assert len(listener.got) == 2
    assert listener.got[0].data["id"] == listener.got[1].data["id"]
    for each in listener.got:
        name, when = each.headers["webhook-id"], each.headers["webhook-timestamp"]
        signed = f"{name}.{when}.".encode() + each.body
        made = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert each.headers["webhook-signature"] == f"v1,{made}"
        assert each.data["id"] == name
    assert secret not in caplog.text and "s3cret" not in caplog.text


def test_the_signature_is_that_of_standard_webhooks():
    # The example of the specification's reference libraries.
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_address_that_is_busy_twice_gets_the_message_the_third_time(tmp_path):
    answers = [503, 429, 204]
    with listening(lambda number, _: answers[number]) as listener:
        assert posted(grounds_with(tmp_path, f"{{url: '{listener.url}', on: finish}}")) == []
    assert listener.events == ["finish"] * 3


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "it answers 404"),
        (301, "it answers 301, and redirects are not followed"),
        (307, "it answers 307, and redirects are not followed"),
    ],
)
def test_what_is_refused_or_redirected_is_told_and_not_tried_again(tmp_path, status, told):
    with listening(lambda *_: status) as listener:
        grounds = grounds_with(tmp_path, f"{{url: '{listener.url}', on: [start, finish]}}")
        host = listener.url.split("/")[2]
        assert posted(grounds) == [
            f"did not reach the webhook {host}: the messages of start, finish ({told})"
        ]
    assert listener.events == ["start", "finish"]


def test_an_address_where_nobody_listens_is_told_without_its_secrets(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        url = f"http://me:pa55@127.0.0.1:{port}/hook?token=s3cret"
        (told,) = posted(grounds_with(tmp_path, f"{{url: '{url}', on: finish}}"))
    assert told.startswith(f"did not reach the webhook 127.0.0.1:{port}: the message of finish (")
    assert "s3cret" not in told and "pa55" not in told


def test_an_address_that_hangs_holds_nothing_up_and_is_told(tmp_path):
    over = threading.Event()
    with listening(hanging(over)) as listener:
        options = f"{{url: '{listener.url}', on: [start, finish]}}"
        # All events are told while the first message is on its way.
        told = posted(grounds_with(tmp_path, options), patience=0.0,
                      before_the_end=listener.arrived.acquire)  # fmt: skip
        over.set()
    (text,) = told
    assert text.endswith(": the messages of start, finish (there was no time left)")


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(tmp_path):
    over = threading.Event()
    with listening(hanging(over)) as listener:
        options = f"{{url: '{listener.url}', on: finish, timeout: 1}}"
        assert posted(grounds_with(tmp_path, options)) == []
        over.set()
    assert len(listener.got) > 1
    assert {each.data["id"] for each in listener.got} == {listener.got[0].data["id"]}


def test_of_too_many_messages_the_oldest_are_given_up(tmp_path):
    over = threading.Event()

    def send_many(listener: Listener) -> tuple[str, ...]:
        courier = Courier(Address(listener.url), AT_ONCE)
        courier.send("first", {})
        listener.arrived.acquire()
        for number in range(MOST_WAITING + 1):
            courier.send(str(number), {"number": number})
        over.set()
        return tuple(f"{lost.subject}: {lost.why}" for lost in courier.close(PATIENCE))

    with listening(hanging(over)) as listener:
        lost = send_many(listener)
    assert lost == ("0: too many were waiting", "1: too many were waiting")
    assert len(listener.got) == MOST_WAITING


@pytest.mark.parametrize(
    ("webhook", "value", "told"),
    [
        ("{url_env: HOOK}", None, "$HOOK is not set"),
        ("{url_env: HOOK}", "ftp://tok3n/x", "$HOOK holds no address"),
        ("{url: h.example, secret_env: HOOK}", None, "$HOOK is not set"),
        ("{url: h.example, secret_env: HOOK}", "whsec_tok3n!", "is not base64"),
    ],
)
def test_without_its_environment_nothing_is_sent_and_that_is_told(
    tmp_path, monkeypatch, webhook, value, told
):
    monkeypatch.delenv("HOOK", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK", value)
    (text,) = posted(grounds_with(tmp_path, webhook))
    assert text.startswith("nothing is sent to the webhook: ") and told in text
    assert "tok3n" not in text


def test_an_address_can_come_from_the_environment(tmp_path, monkeypatch):
    with listening() as listener:
        monkeypatch.setenv("HOOK", listener.url)
        assert posted(grounds_with(tmp_path, "{url_env: HOOK, on: start}")) == []
    assert listener.events == ["start"]


def test_a_secret_that_is_no_base64_is_refused():
    with pytest.raises(InputError, match="not base64"):
        secret_of("whsec_***")


def test_a_render_tells_its_webhook_once_of_what_happens(tmp_path):
    broken = {"e3.yaml": "film: Broken\nshots: [{do: '@bell rings'}]\n"}
    with listening() as listener:
        grounds = grounds_with(tmp_path, f"'{listener.url}'")
        for name, text in broken.items():
            (tmp_path / name).write_text(text)
        result = asyncio.run(render_series(grounds, lambda event: None, None, lambda: NOW))
        again = asyncio.run(render_series(grounds, lambda event: None, None, lambda: NOW))
    assert (result.outcome, again.outcome) == ("broken", "broken")
    assert listener.events == ["start", "failure", "finish"]
    failure, finish = listener.got[1].data, listener.got[2].data
    assert (failure["episode"], failure["outcome"]) == ("e3", "broken")
    assert finish["counts"] == {"complete": 2, "broken": 1}
    assert Path(finish["dailies"]).is_file()


def test_a_render_is_no_worse_for_a_webhook_that_is_down(tmp_path):
    told: list[SeriesEvent] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        grounds = grounds_with(tmp_path, f"{{url: '{url}', on: finish}}")
        posting = partial(webhook.posting, patience=PATIENCE, pauses=AT_ONCE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(render, "posting", posting)
            result = asyncio.run(render_series(grounds, told.append, None, lambda: NOW))
    assert (result.outcome, result.exit_code) == ("complete", 0)
    (notice,) = (event.text for event in told if isinstance(event, SeriesNotice))
    assert notice.startswith("did not reach the webhook 127.0.0.1:")
