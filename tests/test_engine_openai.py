"""A model behind an OpenAI-compatible server: what is sent and retried, and what ends it."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from storyflow.errors import ModelError
from storyflow.prompts.engines.openai import KEY, OPENAI_KEY, OpenAIModel
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.model import Answer, Clip, EngineDied, Question, Refusal

Reply = tuple[int, Any]


class Server:
    """Says what a test wants to every question; notes bodies and headers."""

    def __init__(self, url: str, say: Callable[[dict[str, Any]], Reply]) -> None:
        self.url, self.say = url, say
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.models: Reply = (200, {"data": [{"id": "tiny"}]})
        self.pause: str | None = None


@contextmanager
def serving(say: Callable[[dict[str, Any]], Reply]) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.keys.append(self.headers.get("Authorization"))
            self._reply(*server.models)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.bodies.append(body)
            self._reply(*server.say(body))

        def _reply(self, status: int, data: Any) -> None:
            text = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if server.pause is not None:
                self.send_header("Retry-After", server.pause)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1", say)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def says(text: str, reason: str = "stop") -> Reply:
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": reason}]}


def echo(body: dict[str, Any]) -> Reply:
    content = body["messages"][1]["content"]
    return says(content if isinstance(content, str) else content[-1]["text"])


@contextmanager
def model(server: Server, **settings: Any) -> Iterator[tuple[OpenAIModel, list[float]]]:
    waited: list[float] = []
    made = OpenAIModel(EngineSettings("openai", url=server.url, **settings), waited.append)
    made.setup()
    try:
        yield made, waited
    finally:
        made.close()


QUESTION = Question("you are", "a shot", max_tokens=77, temperature=0.5, seed=3)


def test_answers_come_in_the_order_of_the_questions_with_few_at_once() -> None:
    at_once, most = [0], [0]
    lock = threading.Lock()

    def say(body: dict[str, Any]) -> Reply:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        reply = echo(body)
        with lock:
            at_once[0] -= 1
        return reply

    with serving(say) as server, model(server, concurrency=3) as (made, _):
        said = made.ask([Question("s", f"q{n}") for n in range(20)])
    assert said == [Answer(f"q{n}", True) for n in range(20)]
    assert 1 <= most[0] <= 3


def test_the_question_is_sent_as_it_is() -> None:
    with serving(echo) as server, model(server) as (made, _):
        assert made.ask([QUESTION]) == [Answer("a shot", True)]
        assert made.name == "tiny", "the only model that is served"
    assert server.bodies == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "you are"},
                {"role": "user", "content": "a shot"},
            ],
            "max_tokens": 77,
            "temperature": 0.5,
            "seed": 3,
        }
    ]


@pytest.mark.parametrize("guidance", ["response_format", "vllm", "none"])
def test_the_schema_is_sent_as_the_server_takes_it(guidance: Any) -> None:
    schema = {"type": "object"}
    asked = Question("s", "q", json.dumps(schema))
    with serving(echo) as server, model(server, guidance=guidance) as (made, _):
        made.ask([asked])
    (body,) = server.bodies
    sent = {name: body[name] for name in ("response_format", "structured_outputs") if name in body}
    form = {"name": "shot_caption", "schema": schema, "strict": True}
    assert (
        sent
        == {
            "response_format": {"response_format": {"type": "json_schema", "json_schema": form}},
            "vllm": {"structured_outputs": {"json": schema, "disable_any_whitespace": True}},
            "none": {},
        }[guidance]
    )


def test_a_clip_is_sent_whole_with_its_own_time_or_as_pictures() -> None:
    frames = np.stack([np.full((28, 56, 3), grey, np.uint8) for grey in (40, 90, 140)])
    asked = Question("s", "q", clip=Clip(frames, Fraction(3, 2), Fraction(2)))
    with serving(echo) as server:
        with model(server) as (made, _):
            made.ask([asked])
        with model(server, takes_clips=False) as (made, _):
            made.ask([asked])
    whole, single = server.bodies
    video, text = whole["messages"][1]["content"]
    assert text == {"type": "text", "text": "q"}
    kind, data = video["video_url"]["url"].split(",", 1)
    assert kind == "data:video/mp4;base64"
    with av.open(io.BytesIO(base64.b64decode(data))) as sent:
        stream = sent.streams.video[0]
        assert stream.average_rate == Fraction(3, 2)
        assert (stream.width, stream.height) == (56, 28)
        greys = [
            round(float(frame.to_ndarray(format="rgb24").mean())) for frame in sent.decode(stream)
        ]
    assert all(abs(a - b) <= 2 for a, b in zip(greys, (40, 90, 140), strict=True)), greys
    assert [part["type"] for part in single["messages"][1]["content"]] == ["image_url"] * 3 + [
        "text"
    ]
    picture = single["messages"][1]["content"][1]["image_url"]["url"].split(",", 1)[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (56, 28)


def test_a_cut_off_answer_is_told_as_such() -> None:
    with serving(lambda _: says("and so", "length")) as server, model(server) as (made, _):
        assert made.ask([QUESTION]) == [Answer("and so", False)]


def test_a_busy_server_is_asked_again_after_longer_and_longer_pauses() -> None:
    replies = iter([(503, {}), (500, {}), says("now")])
    with serving(lambda _: next(replies)) as server, model(server) as (made, waited):
        assert made.ask([QUESTION]) == [Answer("now", True)]
    assert waited == [0.5, 1.0]


def test_a_server_may_say_how_long_to_wait() -> None:
    replies = iter([(429, {}), (429, {}), says("now")])
    with serving(lambda _: next(replies)) as server, model(server) as (made, waited):
        server.pause = "7"
        assert made.ask([QUESTION]) == [Answer("now", True)]
    assert waited == [7.0, 7.0]


def test_a_server_that_stays_away_ends_the_stage() -> None:
    with serving(lambda _: (503, {"error": "overloaded"})) as server:
        with (
            model(server, attempts=2, concurrency=1) as (made, waited),
            pytest.raises(EngineDied, match="status 503"),
        ):
            made.ask([QUESTION] * 50)
        assert len(server.bodies) == 2, "nobody else is made to wait for it"
        gone = server.url
    nowhere = OpenAIModel(EngineSettings("openai", "m", url=gone, attempts=2), waited.append)
    with pytest.raises(EngineDied, match="start the server"):
        nowhere.setup()
    nowhere.close()


@pytest.mark.parametrize(
    "reply",
    [
        (400, {"error": "too long"}),
        (200, {"choices": []}),
        (200, []),
        (200, {"choices": [{}]}),
        (200, {"choices": "x"}),
    ],
)
def test_a_question_that_a_server_cannot_answer_costs_that_question(reply: Reply) -> None:
    def say(body: dict[str, Any]) -> Reply:
        return reply if body["messages"][1]["content"] == "bad" else echo(body)

    with serving(say) as server, model(server) as (made, waited):
        first, second = made.ask([Question("s", "bad"), Question("s", "good")])
    assert isinstance(first, Refusal) and second == Answer("good", True)
    assert waited == []


@pytest.mark.parametrize(("status", "words"), [(401, KEY), (403, KEY), (404, "check the address")])
def test_a_closed_door_is_not_knocked_at_again(status: int, words: str) -> None:
    with serving(lambda _: (status, {"error": "no"})) as server, model(server) as (made, waited):
        with pytest.raises(ModelError, match=words.replace("$", "")):
            made.ask([QUESTION])
        assert waited == []


def test_the_model_must_be_one_that_the_server_has() -> None:
    with serving(echo) as server:
        server.models = (200, {"data": [{"id": "a"}, {"id": "b"}]})
        with pytest.raises(ModelError, match="it has a, b"), model(server, model="c"):
            pass
        with pytest.raises(ModelError, match="name one"), model(server):
            pass
        server.models = (200, [])
        with model(server, model="c") as (made, _):
            assert made.name == "c"
        server.models = (404, {})
        with model(server, model="c") as (made, _):
            assert made.name == "c"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://", "http://[1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ModelError, match="address; write it like"):
        OpenAIModel(EngineSettings("openai", "m", url=url)).setup()


def test_keys_come_from_the_environment_and_go_where_they_belong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setenv(OPENAI_KEY, "openai-secret")
    with serving(echo) as server:
        with model(server):
            pass
        monkeypatch.setenv(KEY, "our-secret")
        with model(server):
            pass
    assert server.keys == [None, "Bearer our-secret"]


def test_without_vllm_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from storyflow.prompts.engines.vllm import VllmModel

    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "")
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "")
    model = VllmModel(EngineSettings("vllm", "some/model", revision="abc"))
    assert (model.name, model.revision) == ("some/model", "abc")
    with pytest.raises(ModelError, match="pip install"):
        model.setup()
    with pytest.raises(EngineDied):
        model.ask([QUESTION])
    model.close()
