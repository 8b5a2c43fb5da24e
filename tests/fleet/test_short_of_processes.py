"""A machine that cannot start a process just now, for want of memory, say, tries again later."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from real_fleet import wait_for

from fleet.machine.guard import ChildOptions, Guard
from fleet.machine.kept_relay import KeptRelay
from fleet.machine.mirror import Mirror
from fleet.security.access import NO_ACCESS
from fleet.server.redis_server import RedisServer

WHY = os.strerror(errno.EMFILE)


@contextmanager
def no_more_files() -> Iterator[None]:
    """What a process needs to be started cannot be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def tended(part: Any) -> Any:
    part.tend()
    return part


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


def test_a_worker_that_could_not_be_started_is_told_of_and_started_later(
    server: RedisServer,
) -> None:
    heard: list[str] = []
    guard = Guard("w-0", ChildOptions(server.url), lambda batch: None, heard.append)
    try:
        with no_more_files():
            guard.tend()
        assert not guard.is_up
        assert heard == [f"worker w-0 died: could not be started ({WHY})"]
        assert guard.beat().last_error == f"worker w-0 could not be started ({WHY})"
        wait_for(lambda: tended(guard).is_up, "the worker")
    finally:
        guard.stop(0.0)
        guard.close()


def test_a_relay_that_could_not_be_started_is_started_later(server: RedisServer) -> None:
    heard: list[str] = []
    relay = KeptRelay(server.url, NO_ACCESS, server.url, name="r", run=None, notice=heard.append)
    try:
        with no_more_files():
            relay.tend()
        assert heard == [f"the relay died: could not be started ({WHY})"]
        wait_for(lambda: tended(relay).pid, "the relay")
    finally:
        relay.stop()


def test_a_machines_redis_that_could_not_be_started_again_is_later(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    heard: list[str] = []
    mirror = Mirror(tmp_path / "own", heard.append)
    try:
        os.kill(tended(mirror).pid, signal.SIGKILL)
        wait_for(lambda: tended(mirror).pid is None, "its death to be seen")
        with no_more_files():
            found = tended(mirror).pid
        assert found is None
        assert WHY in heard[-1]
        wait_for(lambda: tended(mirror).pid, "the server")
    finally:
        mirror.stop()
