"""What holds for every test: one BLAS thread, no display, no chance in hypothesis."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tracking.mongo.server import MongoServer

# Before numpy or pygame is imported by anything: they read these once.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
# A developer's own settings must not steer a test to a real server or folder.
for _variable in [name for name in os.environ if name.startswith("ES_")]:
    del os.environ[_variable]
# One that is named in their ~/.config would be found otherwise.
os.environ["ES_MONGO_URL"] = "off"

from hypothesis import settings  # noqa: E402

from env.musculoskeletal.model import import_opensim  # noqa: E402
from errors import EnvUnavailable, ServiceUnavailable  # noqa: E402

# As the program imports it, before a test does it otherwise: who is first chooses its kernels.
with suppress(EnvUnavailable):
    import_opensim()

# The same examples everywhere and no deadline: a busy machine must not fail a test.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray with two processors, started once for all tests that need it."""
    from fleet.actors.cluster import connected

    with connected(None, workers=2):
        yield


@pytest.fixture(scope="session")
def mongod() -> Iterator[MongoServer]:
    """A real MongoDB on loopback; missing, the test is skipped, and failed in CI."""
    from tracking.mongo.mongod_binary import mongod_binary
    from tracking.mongo.server import MongoServer

    try:
        mongod_binary()
    except ServiceUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with MongoServer() as server:
        yield server


@pytest.fixture
def mongo_database(mongod: MongoServer) -> Iterator[str]:
    """Name of a database of `mongod` that no other test sees."""
    name = f"test_{secrets.token_hex(8)}"
    yield name
    with mongod.client() as client:
        client.drop_database(name)
