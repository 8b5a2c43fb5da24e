"""What EC2 tells an instance of itself, at 169.254.169.254 and by tokens only (IMDSv2)."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ADDRESS = "169.254.169.254"
_TOKEN_PATH = "/latest/api/token"
_MAX_TTL_S = 21600

Credentials = Callable[[], dict[str, str] | None]
"""Those of the instance's role as STS gives them, asked for once; None: it has no role."""


class Metadata:
    """What there is to be told; a path's absence is a 404.

    Args:
        facts: by path below ``/latest/``: ``meta-data/instance-id``.
        role: the name of the instance's role; empty: it has none.
        credentials: the role's.
    """

    def __init__(self, facts: dict[str, str], role: str, credentials: Credentials) -> None:
        self._facts = dict(facts)
        self._role = role
        self._credentials = credentials
        self._tokens: dict[str, float] = {}
        self._given: dict[str, str] | None = None
        self._lock = threading.Lock()

    def announce_interruption(self, in_s: float = 120.0) -> None:
        """A spot instance will be taken away so soon."""
        when = _stamp(in_s)
        self._facts["meta-data/spot/instance-action"] = json.dumps(
            {"action": "terminate", "time": when}
        )
        self._facts["meta-data/spot/termination-time"] = when

    def recommend_rebalance(self) -> None:
        """It has become likely that it will be."""
        self._facts["meta-data/events/recommendations/rebalance"] = json.dumps(
            {"noticeTime": _stamp(0.0)}
        )

    def new_token(self, ttl_s: int) -> str:
        """A token that is good for so long."""
        token = secrets.token_urlsafe(32)
        self._tokens[token] = time.monotonic() + ttl_s
        return token

    def knows(self, token: str) -> bool:
        """Whether a token is good."""
        return self._tokens.get(token, 0.0) > time.monotonic()

    def at(self, path: str) -> str | None:
        """What is at a path below ``/latest/``; None: nothing."""
        role_path = "meta-data/iam/security-credentials"
        if self._role and path.rstrip("/") == role_path:
            return self._role
        if self._role and path == f"{role_path}/{self._role}":
            return self._role_credentials()
        if path in self._facts:
            return self._facts[path]
        below = path.rstrip("/") + "/"
        names = sorted({_next(name, below) for name in self._facts if name.startswith(below)})
        return "\n".join(names) or None

    @property
    def keys(self) -> dict[str, str] | None:
        """Of the instance's role; asked for once, as EC2 has them at hand, too."""
        with self._lock:
            if self._given is None:
                self._given = self._credentials()
            return self._given

    def _role_credentials(self) -> str | None:
        given = self.keys
        if given is None:
            return None
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _stamp(0.0),
                "Type": "AWS-HMAC",
                "AccessKeyId": given["AccessKeyId"],
                "SecretAccessKey": given["SecretAccessKey"],
                "Token": given["SessionToken"],
                "Expiration": _stamp(6 * 3600.0),
            }
        )


class MetadataServer:
    """Answers on a socket that listens already, until `close`."""

    def __init__(self, metadata: Metadata, listener: socket.socket) -> None:
        class Handler(_Handler):
            told = metadata

        self._server = _Server(("", 0), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = listener
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_words: Any) -> None:
        """Who asked was switched off meanwhile."""


class _Handler(BaseHTTPRequestHandler):
    told: Metadata

    def do_PUT(self) -> None:
        if self.path != _TOKEN_PATH:
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.headers.get("X-Forwarded-For"):
            self._answer(HTTPStatus.FORBIDDEN)
        else:
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if ttl.isdecimal() and 1 <= int(ttl) <= _MAX_TTL_S:
                self._answer(HTTPStatus.OK, self.told.new_token(int(ttl)))
            else:
                self._answer(HTTPStatus.BAD_REQUEST)

    def do_GET(self) -> None:
        if not self.told.knows(self.headers.get("X-aws-ec2-metadata-token", "")):
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        text = self.told.at(self.path.removeprefix("/latest/").lstrip("/"))
        self._answer(HTTPStatus.NOT_FOUND if text is None else HTTPStatus.OK, text or "")

    def _answer(self, status: HTTPStatus, text: str = "") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_words: Any) -> None:
        """A request is nobody's news."""


def _next(name: str, below: str) -> str:
    first, slash, _ = name.removeprefix(below).partition("/")
    return first + slash


def _stamp(in_s: float) -> str:
    when = datetime.now(UTC) + timedelta(seconds=in_s)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
