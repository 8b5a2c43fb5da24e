"""A relay's clients of Redis: asynchronous, and one error for all that can go wrong there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from errors import ConfigError
from fleet.connection import without_password
from fleet.security.access import NO_ACCESS, Access

_MOST_REFUSALS = 20

Notice = Callable[[str], None]


def ignore(line: str) -> None:
    """A notice that nobody reads."""


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


class Reach:
    """Whether a server is to be had, of which people are told when it changes.

    Args:
        server: its URL without a password.
        notice: where a line for people goes.
    """

    def __init__(self, server: str, notice: Notice) -> None:
        self.server = server
        self._notice = notice
        self._is_away = False
        self._refusals: set[str] = set()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Turn whatever a client of the server raises into `OutOfReach`."""
        try:
            yield
        except ResponseError as error:  # it is there, and does not do what we ask
            away = self._error(error)
            if str(away) not in self._refusals and len(self._refusals) < _MOST_REFUSALS:
                self._refusals.add(str(away))
                self._notice(f"{away}: trying again")
            raise away from None
        except (RedisError, OSError, EOFError) as error:
            away = self._error(error)
            if not self._is_away:
                self._is_away = True
                self._notice(f"{away}: trying again, workers go on with what they have")
            raise away from None
        if self._is_away:
            self._is_away = False
            self._notice(f"Redis at {self.server} is there again")

    def _error(self, error: Exception) -> OutOfReach:
        why = " ".join(str(error).split()) or type(error).__name__
        return OutOfReach(self.server, why)
