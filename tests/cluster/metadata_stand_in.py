"""EC2's metadata service, over HTTP: a token first (IMDSv2), then facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class MetadataStandIn:
    """The service.

    Attributes:
        facts: by path below ``/latest/meta-data/``.
        tokens: those that are good.
        silent_s: how long each answer takes longer than it should.
    """

    def __init__(self) -> None:
        self.facts = {"instance-id": "i-0123456789abcdef0", "local-ipv4": "10.0.0.7"}
        self.tokens: list[str] = []
        self.silent_s = 0.0
        self.endpoint = ""


@contextmanager
def metadata_stand_in() -> Iterator[MetadataStandIn]:
    """It answers on 127.0.0.1 for as long as the block runs."""
    service = MetadataStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if self.path != "/latest/api/token" or not 1 <= int(ttl or 0) <= 21_600:
                self._answer(400, "")
                return
            service.tokens.append(f"token-{len(service.tokens)}")
            self._answer(200, service.tokens[-1])

        def do_GET(self) -> None:
            time.sleep(service.silent_s)
            if self.headers.get("X-aws-ec2-metadata-token") not in service.tokens:
                self._answer(401, "")
                return
            found = service.facts.get(self.path.removeprefix("/latest/meta-data/"))
            self._answer(404 if found is None else 200, found or "")

        def _answer(self, code: int, text: str) -> None:
            data = text.encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_words: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    service.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
