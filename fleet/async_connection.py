"""An asynchronous client with the options of `fleet.connection`, unchecked."""

from __future__ import annotations

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fleet.access import Access
from fleet.connection import BLOCK_S

_CONNECT_S = 5.0


def open_client(url: str, access: Access) -> redis.asyncio.Redis:
    """A client of the server at ``url``. Nothing is retried: a resent push is a duplicate."""
    return redis.asyncio.Redis.from_url(
        url,
        **access.options(url),
        socket_timeout=BLOCK_S + 9,
        socket_connect_timeout=_CONNECT_S,
        retry=Retry(NoBackoff(), 0),
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
