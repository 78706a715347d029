"""A real S3 server that counts what it is asked and fails where it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class S3Server:
    """`before` sees method and path of each request and may name a status to answer instead.

    `stored` are the paths of what was put, each time that the server took it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    before: Callable[[str, str], int | None] = lambda method, path: None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def count(self, method: str, part: str = "") -> int:
        return sum(m == method and part in path for m, path in self.requests)

    def wait_for(self, method: str, part: str) -> None:
        """Until such a request has come in."""
        end = time.monotonic() + 300
        while not self.count(method, part):
            assert time.monotonic() < end, self.requests
            time.sleep(0.005)

    def reset(self) -> None:
        self.requests.clear()
        self.stored.clear()
        self.before = lambda method, path: None


@contextmanager
def s3_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[S3Server]:
    told = S3Server(host)
    app = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"] + (query and f"?{query}")
        told.requests.append((method, path))
        status = told.before(method, path)
        if status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{status} Told to", [("Content-Length", "0")])
            return [b""]

        def begin(status: str, *others: Any) -> Any:
            if method == "PUT" and status.startswith("2"):
                told.stored.append(path)
            return start(status, *others)

        return app(environ, begin)

    server = make_server(host, port, answer, threaded=True)
    told.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
