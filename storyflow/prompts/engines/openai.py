"""A language model behind an OpenAI-compatible server: vLLM's own, or any other.

The key comes from the environment and nowhere else: STORYFLOW_PROMPTS_KEY for whatever server the
profile names, OPENAI_API_KEY for OpenAI itself alone, so that no profile can send it elsewhere.
"""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from storyflow.errors import ModelError
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.model import Answer, Clip, EngineDied, Question, Refusal

KEY = "STORYFLOW_PROMPTS_KEY"
OPENAI_KEY = "OPENAI_API_KEY"
OPENAI_HOST = "api.openai.com"

LONGEST_PAUSE = 30.0
"""Seconds; a server that asks for more is asked again after these."""

_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_CLOSED = frozenset({401, 403, 404})


class OpenAIModel:
    """Implements `LanguageModel` over HTTP. `wait` sleeps between attempts."""

    def __init__(
        self, settings: EngineSettings, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self._settings = settings
        self._wait = wait
        self._name = settings.model
        self._client: Any = None

    @property
    def name(self) -> str:
        """The name that the server knows the model by."""
        return self._name

    @property
    def revision(self) -> str:
        """What the profile says of it; a server doesn't tell."""
        return self._settings.revision or ""

    def setup(self) -> None:
        """Find the server and the model. Raises ModelError, EngineDied."""
        import httpx2

        settings = self._settings
        host = _host(settings.url)
        if not host:
            raise ModelError(
                f"{settings.url!r} is no server's address",
                cure="write it like http://HOST:8000/v1",
            )
        headers = {}
        if key := _key(host):
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx2.Client(
            base_url=settings.url.rstrip("/") + "/",
            headers=headers,
            timeout=httpx2.Timeout(settings.timeout, connect=min(settings.timeout, 10.0)),
            limits=httpx2.Limits(max_connections=settings.concurrency),
        )
        told = self._request("GET", "models", None)
        if isinstance(told, _Failure):
            if told.status == 404:
                self._need_name()
                return  # a server without a list of its models
            raise self._fatal(told)
        served = [
            each["id"]
            for each in (told.get("data") if isinstance(told, dict) else None) or []
            if isinstance(each, dict) and isinstance(each.get("id"), str)
        ]
        if not self._name and len(served) == 1:
            self._name = served[0]
        self._need_name()
        if served and self._name not in served:
            raise ModelError(
                f"{settings.url} has no model {self._name!r}",
                cure=f"it has {', '.join(served[:8])}",
            )

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        """The answers, several questions at once. Raises EngineDied, ModelError."""
        if self._client is None:
            raise EngineDied(f"{self._settings.url} was not set up")
        gone = threading.Event()

        def one(question: Question) -> Answer | Refusal | _Failure:
            if gone.is_set():
                return _Failure("the server is gone")
            said = self._one(question)
            if isinstance(said, _Failure):
                gone.set()  # the others would wait as long, for nothing
            return said

        with ThreadPoolExecutor(self._settings.concurrency) as threads:
            said = list(threads.map(one, questions))
        failures = [each for each in said if isinstance(each, _Failure)]
        if failures:
            raise self._fatal(next((f for f in failures if f.status), failures[0]))
        return [each for each in said if not isinstance(each, _Failure)]

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _one(self, question: Question) -> Answer | Refusal | _Failure:
        told = self._request("POST", "chat/completions", self._body(question))
        if isinstance(told, _Failure):
            return told if told.fatal else Refusal(str(told))
        try:
            choice = told["choices"][0]
            text = choice["message"].get("content") or ""
            return Answer(str(text), choice.get("finish_reason") in {"stop", None})
        except (KeyError, IndexError, TypeError, AttributeError):
            return Refusal(f"the server's answer is not a chat completion: {_short(told)}")

    def _body(self, question: Question) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {
            "model": self._name,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": question.user},
            ],
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "seed": question.seed,
        }
        if question.schema is not None and settings.guidance != "none":
            schema = json.loads(question.schema)
            if settings.guidance == "vllm":
                body["structured_outputs"] = {"json": schema, "disable_any_whitespace": True}
            else:
                form = {"name": "shot_caption", "schema": schema, "strict": True}
                body["response_format"] = {"type": "json_schema", "json_schema": form}
        if question.clip is not None:
            shown = _shown(question.clip, whole=settings.takes_clips)
            text = {"type": "text", "text": question.user}
            body["messages"][1]["content"] = [*shown, text]
        return body

    def _request(self, method: str, path: str, body: Any) -> Any:
        """The server's JSON, or how it failed in the last attempt."""
        import httpx2

        failure = _Failure("not asked")
        for attempt in range(self._settings.attempts):
            pause = min(LONGEST_PAUSE, 0.5 * 2**attempt)
            try:
                response = self._client.request(method, path, json=body)
            except httpx2.TimeoutException:
                failure = _Failure(f"no answer within {self._settings.timeout:g} s")
            except httpx2.TransportError as error:
                failure = _Failure(str(error) or type(error).__name__)
            else:
                if response.status_code == 200:
                    try:
                        return response.json()
                    except ValueError:
                        return _Failure("its answer is not JSON", 200)
                failure = _Failure(_short(response.text), response.status_code)
                if response.status_code not in _BUSY:
                    return failure
                pause = _asked_pause(response.headers.get("retry-after"), pause)
            if attempt + 1 < self._settings.attempts:
                self._wait(pause)
        return failure

    def _need_name(self) -> None:
        if not self._name:
            raise ModelError(
                f"{self._settings.url} serves several models, or doesn't say which",
                cure="name one in the profile",
            )

    def _fatal(self, failure: _Failure) -> Exception:
        where = self._settings.url
        if failure.status in {401, 403}:
            return ModelError(
                f"{where} refuses the key: {failure.text}", cure=f"put its key into ${KEY}"
            )
        if failure.status == 404:
            return ModelError(
                f"{where} has nothing there: {failure.text}", cure="check the address and the model"
            )
        return EngineDied(
            f"{where} can't be had: {failure}", cure="start the server, then run the command again"
        )


@dataclass(frozen=True)
class _Failure:
    """How a request failed; `status` is 0 where there was no answer."""

    text: str
    status: int = 0

    @property
    def fatal(self) -> bool:
        """Whether other questions would fail as well."""
        return self.status == 0 or self.status in _BUSY | _CLOSED

    def __str__(self) -> str:
        return f"status {self.status}: {self.text}" if self.status else self.text


def _host(url: str) -> str:
    """The host of a server's address, empty for what is none."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "" if parts.scheme in {"http", "https"} else ""
    except ValueError:
        return ""


def _key(host: str) -> str:
    key = os.environ.get(KEY, "")
    return key or (os.environ.get(OPENAI_KEY, "") if host == OPENAI_HOST else "")


def _shown(clip: Clip, *, whole: bool) -> list[dict[str, Any]]:
    """The frames as parts of a message: one video, or a picture each."""
    if whole and len(clip.frames) > 1:
        url = f"data:video/mp4;base64,{_mp4(clip)}"
        return [{"type": "video_url", "video_url": {"url": url}}]
    urls = (f"data:image/jpeg;base64,{_jpeg(frame)}" for frame in clip.frames)
    return [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def _mp4(clip: Clip) -> str:
    """A small film of the frames. Its frame rate tells the server when they were: fields of the
    request for that are vLLM's alone, and closed unless its operator opens them."""
    import av

    buffer = io.BytesIO()
    height, width = clip.frames.shape[1:3]
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=clip.fps, options={"crf": "8", "threads": "1"}
        )
        stream.width, stream.height = width, height
        # Halved colours take even sides.
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        for picture in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _jpeg(frame: Any) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling=0)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _asked_pause(header: str | None, otherwise: float) -> float:
    try:
        return min(LONGEST_PAUSE, max(0.0, float(header or "")))
    except ValueError:
        return otherwise


def _short(told: object) -> str:
    text = " ".join(str(told).split())
    return text if len(text) <= 300 else text[:299] + "…"
