"""What ``python es/head.py`` does, once it is known what: kept apart from its options, so that
``--help`` need not load any of it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import redis

from errors import ServiceUnavailable
from fleet.connection import Client, connect, url_or_default, without_password
from fleet.flush import flush_everything
from fleet.security.access import WORKER_USER, Access
from fleet.security.acl import make_worker, worker_lines
from fleet.security.credentials import credentials_for, given_for_server, worker_credentials
from fleet.security.find_access import find_access
from fleet.security.invitation import invitation
from fleet.server import server_file
from fleet.server.redis_server import RedisServer


def run_server(port: int, bind: str, *, no_tls: bool, stop: bool, **given: Any) -> None:
    """Serve Redis until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if stop and (pid := server_file.stop(port)) is not None:
        _say(f"stopped the server of process {pid}")
    credentials = credentials_for(bind, port, given_for_server(no_tls=no_tls, **given))
    with (
        RedisServer(
            port,
            bind,
            password=credentials.password,
            worker_password=credentials.worker_password,
            tls=credentials.tls,
            no_tls=no_tls,
        ) as server,
        server_file.written(port, server, bind, credentials),
    ):
        for line in invitation(bind, port, credentials):
            _say(line)
        _say(f"Redis at {server.url}; Ctrl-C ends it")
        try:
            code = server.wait()
        except KeyboardInterrupt:
            _say("stopped")
            return
    if code not in (0, -15):
        raise ServiceUnavailable(f"the Redis server ended with code {code}: start it again")


def acl(worker_password_file: Path | None, redis_url: str | None, **given: Any) -> None:
    """Print or make the user that workers are."""
    file, password = worker_credentials(worker_password_file)
    if redis_url is None:
        for line in worker_lines(password):
            _say(line)
    else:
        with _reached(url_or_default(redis_url), find_access(redis_url, **given)) as client:
            make_worker(client, password)
        _say(f"made user {WORKER_USER} at {without_password(redis_url)}, until it restarts")
    if file is not None:
        print(f"the workers' password: {file}", file=sys.stderr, flush=True)


def flush(redis_url: str | None, **given: Any) -> None:
    """Delete all our keys."""
    url = url_or_default(redis_url)
    with _reached(url, find_access(url, **given)) as client:
        _say(f"deleted {flush_everything(client)} keys")


def status(redis_url: str | None, *, watch: bool, as_json: bool, **given: Any) -> None:
    """Show what is on the Redis, once or until Ctrl-C."""
    from fleet.status.overview_watch import Watch  # numpy and rich, which only this command needs

    url = url_or_default(redis_url)
    with _reached(url, find_access(url, **given)) as client:
        shown = Watch(client, without_password(url), sys.stdout, as_json=as_json)
        if not watch:
            shown.once()
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt_once)
        with suppress(KeyboardInterrupt):
            shown.until_interrupted()


@contextmanager
def _reached(url: str, access: Access) -> Iterator[Client]:
    """A client of the Redis at ``url``; one that is lost is said in a line."""
    try:
        with connect(url, access=access) as client:
            yield client
    except redis.RedisError as error:
        raise ServiceUnavailable(f"lost Redis ({error}): try again") from None


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """A second Ctrl-C must not hinder giving the terminal back."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)
