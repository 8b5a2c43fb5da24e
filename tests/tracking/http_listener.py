"""A real HTTP server on loopback that keeps what is posted to it and answers as it is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    """Answers with ``code``."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def drop(request: BaseHTTPRequestHandler) -> None:
    """Hangs up without a word."""
    request.connection.shutdown(socket.SHUT_RDWR)


def babble(request: BaseHTTPRequestHandler) -> None:
    """Answers what is no HTTP."""
    request.wfile.write(b"220 smtp.example.com ESMTP\r\n")


class Listener:
    """A context manager.

    Args:
        answers: one for each post; the last for all that follow.

    Attributes:
        heard: path and JSON of each post.
    """

    def __init__(self, *answers: Answer) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._answers = list(answers) or [status(204)]
        self._ended = threading.Event()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener._hear(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def url(self, path: str = "/services/T0KEN") -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def wait_for(self, number: int) -> list[dict[str, Any]]:
        """The first ``number`` posts, once they are there."""
        deadline_s = time.monotonic() + 30
        while len(self.heard) < number and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert len(self.heard) >= number
        return [body for _, body in self.heard]

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        """Never answers, as long as the listener lives."""
        self._ended.wait(60)

    def drip(self, request: BaseHTTPRequestHandler) -> None:
        """A byte now and then: no single wait is a long one."""
        while not self._ended.wait(0.1):
            try:
                request.wfile.write(b"H")
            except OSError:
                return

    def _hear(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers["Content-Length"])
        self.heard.append((request.path, json.loads(request.rfile.read(length))))
        index = min(len(self.heard), len(self._answers)) - 1
        request.close_connection = True
        self._answers[index](request)

    def say(self, *answers: Answer) -> None:
        """Answer so from now on."""
        self._answers = [*([answers[0]] * len(self.heard)), *answers]

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
