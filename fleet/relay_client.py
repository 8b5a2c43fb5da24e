"""A relay's clients of Redis: asynchronous, and one error for all that can go wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from errors import ConfigError
from fleet.access import NO_ACCESS, Access
from fleet.connection import without_password


class OutOfReach(Exception):
    """A server did not answer, or not as it should; `server` is its URL without a password."""

    def __init__(self, server: str, why: str) -> None:
        super().__init__(f"Redis at {server} is out of reach: {why}")
        self.server = server


def open_client(url: str, access: Access = NO_ACCESS, *, answer_s: float) -> Any:
    """A client that connects when it is first used; see `fleet.connection.connect`.

    Args:
        answer_s: how long any answer may take, blocking and transfer included.

    Raises:
        ConfigError: ``url`` is not one of Redis.
    """
    try:
        return Redis.from_url(
            url,
            **access.options(url),
            socket_timeout=answer_s,
            socket_connect_timeout=5.0,
            retry=Retry(NoBackoff(), 0),
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        )
    except ValueError as error:
        raise ConfigError(
            f"{without_password(url)}: {error}; expected redis://HOST:PORT/0, rediss:// with TLS, "
            "or unix://PATH"
        ) from None


@contextmanager
def asking(server: str) -> Iterator[None]:
    """Turn whatever a client of ``server`` raises into `OutOfReach`."""
    try:
        yield
    except (RedisError, OSError, EOFError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise OutOfReach(server, why) from None
