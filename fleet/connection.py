"""A client of a Redis that will do, or one line that says why it will not."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from errors import ConfigError, ServiceUnavailable
from fleet.access import NO_ACCESS, PASSWORD_VARIABLE, Access

DEFAULT_URL = "redis://127.0.0.1:6379/0"
URL_VARIABLE = "ES_REDIS_URL"
BLOCK_S = 1.0
OLDEST = (6, 2)

Client = redis.Redis


def connect(url: str, *, access: Access = NO_ACCESS, connect_timeout_s: float = 5.0) -> Client:
    """A checked client of the server at ``url``. Nothing is retried: a resent push is a duplicate.

    Raises:
        ConfigError: ``url`` is not one of Redis.
        ServiceUnavailable: the server cannot be reached, refuses us, is too old, or evicts keys.
    """
    shown = without_password(url)
    try:
        client = redis.Redis.from_url(
            url,
            **access.options(url),
            socket_timeout=BLOCK_S + 9,
            socket_connect_timeout=connect_timeout_s,
            retry=Retry(NoBackoff(), 0),
            # A unix socket has no such option, and redis-py refuses to pass it on.
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        )
    except ValueError as error:
        raise ConfigError(
            f"redis_url={shown}: {error}; expected redis://HOST:PORT/0 or unix://PATH"
        ) from None
    try:
        server = client.info("server")
        memory = client.info("memory")
    except redis.AuthenticationError as error:
        raise ServiceUnavailable(
            f"Redis at {shown} refuses the password ({error}): set {PASSWORD_VARIABLE}"
        ) from None
    except redis.ResponseError as error:
        if "HELLO" in str(error).upper():  # how a client greets since Redis 6
            _check_version(shown, "5 or older")
        raise ServiceUnavailable(f"Redis at {shown} refuses us: {error}") from None
    except (redis.RedisError, OSError) as error:
        raise ServiceUnavailable(
            f"no Redis at {shown} ({_reason(error)}): start one with "
            "`python es/head.py run-server`, or name another with redis_url= or "
            f"{URL_VARIABLE}"
        ) from None
    _check_version(shown, str(server.get("redis_version", "0.0")))
    if memory.get("maxmemory", 0) and memory.get("maxmemory_policy") != "noeviction":
        raise ServiceUnavailable(
            f"Redis at {shown} evicts keys when memory is short "
            f"(maxmemory-policy {memory.get('maxmemory_policy')}): set maxmemory-policy "
            "noeviction, since a lost task is a lost generation"
        )
    return client


def url_or_default(url: str | None) -> str:
    """``url``, else the environment's, else the default. For the edges only."""
    return url or os.environ.get(URL_VARIABLE) or DEFAULT_URL


def without_password(url: str) -> str:
    """``url`` as it may be shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _check_version(shown: str, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise ServiceUnavailable(
            f"Redis at {shown} is version {version}, expected {'.'.join(map(str, OLDEST))} or "
            "later: use a newer one, or `python es/head.py run-server`"
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
