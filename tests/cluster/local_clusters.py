"""What tests of clusters on this machine share: a home of their own, and nothing left behind."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local.processes import end, machines_at_work
from cluster.local.provider import LocalProvider
from cluster.provider import Archives
from cluster.source import pack_include, pack_source
from cluster.spec import ClusterSpec

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90.0
INCLUDE = ROOT / "tests" / "cluster" / "include"
"""A user's folder, with an environment that leaves the processor to others."""
LONG = (
    "env_name=resting:Resting-v0 network=linear num_generations=1000000 pop_size=4 seed=3 "
    "validation_episodes=0"
)
"""A run that nobody waits for the end of; a generation takes less than a second."""


def wait_for(is_so: Callable[[], object], what: str) -> None:
    """Poll until it is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"no {what} in {DEADLINE_S:g} s"
        time.sleep(0.05)


@contextmanager
def nothing_left(home: Path) -> Iterator[None]:
    """Ends, whatever the test did, what it has left at work, and says so."""
    try:
        yield
        assert machines_at_work(home) == {}
    finally:
        end(dict.fromkeys(machines_at_work(home)), 0.0)


def provider_at(home: Path) -> LocalProvider:
    """With a home of its own, its machines finding our code in their archive alone."""
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": ""}
    return LocalProvider(home, environment)


def spec_of(archives: Archives, config: str = LONG, **options: object) -> ClusterSpec:
    """A cluster of one worker machine with one worker, unless ``options`` say otherwise."""
    source, include = archives
    given = {"name": "oak", "size": 1, "workers_per_machine": 1, "max_hours": 1.0, **options}
    return ClusterSpec(
        uid=secrets.token_hex(16),
        owner="ada",
        config=tuple(config.split()),
        source=source,
        include=include,
        created_s=time.time(),
        **given,  # type: ignore[arg-type]
    )


def packed_source(folder: Path) -> Archives:
    """Our code and the user's folder, as launch would carry them."""
    packed = [pack_source(ROOT, folder), pack_include(INCLUDE, folder)]
    return {archive.sha256: archive.path for archive in packed}
