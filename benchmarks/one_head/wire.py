"""A connection to Redis for coroutines, as cheap as can be: a thousand of them share a core.

Only benchmarks use it: no reconnecting, no password, no TLS.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import hiredis

Part = bytes | str | int | float


class Connection(asyncio.Protocol):
    """One client; `ask` pipelines."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=NotImplemented)
        self._waiting: deque[tuple[int, list[Any], asyncio.Future[list[Any]]]] = deque()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def to(cls, url: str) -> Connection:
        """Connected to the server at ``url``: ``unix://PATH`` or ``redis://HOST:PORT/0``."""
        loop, parts = asyncio.get_running_loop(), urlsplit(url)
        if parts.scheme == "unix":
            _, made = await loop.create_unix_connection(cls, parts.path)
        else:
            host, port = parts.hostname or "127.0.0.1", parts.port or 6379
            _, made = await loop.create_connection(cls, host, port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Of `asyncio.Protocol`."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not NotImplemented:
            count, replies, answer = self._waiting[0]
            replies.append(reply)
            if len(replies) == count:
                self._waiting.popleft()
                if not answer.done():
                    answer.set_result(replies)

    def connection_lost(self, error: Exception | None) -> None:
        """Of `asyncio.Protocol`."""
        for _, _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(ConnectionError("Redis closed the connection"))
        self._waiting.clear()

    async def ask(self, *commands: tuple[Part, ...]) -> list[Any]:
        """The replies to ``commands``, sent in one piece.

        Raises:
            hiredis.ReplyError: one of them is an error.
        """
        assert self._transport is not None
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((len(commands), [], answer))
        pack: Any = hiredis.pack_command
        self._transport.write(b"".join(map(pack, commands)))
        replies = await answer
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
