"""A client of a Redis that will do, or one line that says why it will not."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from errors import AccessRefused, ConfigError, ServiceUnavailable
from fleet.security.access import (
    CA_VARIABLE,
    NO_ACCESS,
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    WORKER_FILE_VARIABLE,
    WORKER_VARIABLE,
    Access,
)

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
        raise _no_url(shown, str(error)) from None
    try:
        _check_version(shown, server_version(client))
        _check_eviction(shown, client)
    except TypeError as error:  # how redis-py takes an option that it does not know
        if not urlsplit(url).query:
            raise
        raise _no_url(shown, str(error).rpartition("() ")[2]) from None
    except redis.AuthenticationError:
        wants = f"refuses the password of user {access.user}"
        if access.password is None and _password_of(url) is None:
            wants = "wants a password"
        raise AccessRefused(
            f"Redis at {shown} {wants}: set {PASSWORD_VARIABLE}, or {WORKER_VARIABLE} for a "
            f"worker's, or name a file of mode 0600 that holds it in {PASSWORD_FILE_VARIABLE}, "
            f"{WORKER_FILE_VARIABLE} or --worker_password_file"
        ) from None
    except redis.ResponseError as error:
        if "HELLO" in str(error).upper():  # how a client greets since Redis 6
            _check_version(shown, "5 or older")
        raise ServiceUnavailable(f"Redis at {shown} refuses us: {error}") from None
    except (redis.RedisError, OSError) as error:
        raise ServiceUnavailable(
            f"no Redis at {shown} ({_reason(error)}): {_advice(url, error)}"
        ) from None
    return client


def url_or_default(url: str | None) -> str:
    """``url``, else the environment's, else the default. For the edges only.

    Raises:
        ConfigError: ``url``, which comes from a command line, holds a password.
    """
    if url is not None:
        refuse_password_in(url)
    return url or os.environ.get(URL_VARIABLE) or DEFAULT_URL


def refuse_password_in(url: str) -> None:
    """Refuse a URL of a command line, which every user of the machine can read, with a password.

    Raises:
        ConfigError: it has one.
    """
    if _password_of(url):
        raise ConfigError(
            f"redis_url={without_password(url)} came with a password, which everyone on this "
            f"machine can read on a command line: expected it in {PASSWORD_VARIABLE}, in a file of "
            f"mode 0600 that {PASSWORD_FILE_VARIABLE} names, or in {URL_VARIABLE}"
        )


def url_of(host: str, port: int, *, no_tls: bool = False) -> str:
    """The URL of a head's Redis by host and port; ``host`` may be a URL itself.

    Beyond this machine that means TLS, unless ``no_tls`` is said.

    Raises:
        ConfigError: ``host`` is no host's name, or a URL with a password.
    """
    if "://" in host:
        refuse_password_in(host)
        return host
    if not _is_host(host):
        raise ConfigError(
            f"--master_host={host} names no host: expected a name or an address, and the port "
            "apart from it in --master_port; or all of it as a URL, such as rediss://HOST:PORT/0"
        )
    scheme = "redis" if no_tls or is_loopback(host) else "rediss"
    return f"{scheme}://{in_url(host)}:{port}/0"


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine, to this machine only."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def in_url(host: str) -> str:
    """``host`` as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def without_password(url: str) -> str:
    """``url`` as it may be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL, but there may be a password in it
        return url.rpartition("@")[2].partition("?")[0]
    if "@" not in parts.netloc and "password" not in parts.query:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def _no_url(shown: str, why: str) -> ConfigError:
    return ConfigError(
        f"redis_url={shown}: {why}; expected redis://HOST:PORT/0, rediss:// with TLS, or "
        "unix://PATH"
    )


def _is_host(text: str) -> bool:
    try:
        return bool(ip_address(text.strip("[]")))
    except ValueError:
        return bool(text) and not set(text) & set(" \t\n:/@?#[]%")


def _check_version(shown: str, version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise ServiceUnavailable(
            f"Redis at {shown} is version {version}, expected {'.'.join(map(str, OLDEST))} or "
            "later: use a newer one, or `python es/head.py run-server`"
        )


def server_version(client: Client) -> str:
    """As the greeting states it, which every user may ask for; INFO is not for workers."""
    untyped: Any = client
    found = untyped.execute_command("HELLO")
    if isinstance(found, list):  # how it comes in the older protocol
        found = dict(zip(found[::2], found[1::2], strict=True))
    version = found.get(b"version", b"0.0")
    return version.decode(errors="replace") if isinstance(version, bytes) else str(version)


def _check_eviction(shown: str, client: Client) -> None:
    try:
        memory: Any = client.info("memory")
    except NoPermissionError:
        return  # a worker may not look; its head did
    if memory.get("maxmemory", 0) and memory.get("maxmemory_policy") != "noeviction":
        raise ServiceUnavailable(
            f"Redis at {shown} evicts keys when memory is short "
            f"(maxmemory-policy {memory.get('maxmemory_policy')}): set maxmemory-policy "
            "noeviction, since a lost task is a lost generation"
        )


def _advice(url: str, error: Exception) -> str:
    said = str(error).upper()
    if "CERTIFICATE" in said:
        return f"name the server's certificate with --tls_ca or {CA_VARIABLE}"
    if "SSL" in said or (url.startswith("rediss://") and "TIMEOUT" in said):
        return "if it is there, it speaks no TLS: name it as redis://, or say --no_tls"
    if url.startswith("redis://") and ("CLOSED BY" in said or "RESET BY" in said):
        return "where it speaks TLS, name it as rediss://, or leave out --no_tls"
    if url.startswith("unix:"):
        return "start what serves this socket, or name another"
    return (
        "start one with `python es/head.py run-server`, or name another with redis_url=, "
        f"{URL_VARIABLE} or --master_host"
    )


def _password_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        named = parse_qs(parts.query).get("password", [None])
        return parts.password or named[0]
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
