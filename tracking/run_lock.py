"""Whether a head is at work on a run, told by the lock on its journal; see `search.journal`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import RunLocked

_LOCK = Path("journal", "lock")


def is_live(directory: Path) -> bool:
    """Whether a head holds the run in ``directory``, as far as this machine can tell."""
    try:
        with held(directory):
            return False
    except RunLocked:
        return True


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep heads away from the run in ``directory`` meanwhile.

    Raises:
        RunLocked: one is there already.
    """
    try:
        lock = os.open(directory / _LOCK, os.O_RDONLY)
    except OSError:  # no head has been there, or it is none of ours to look at
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RunLocked(f"a head is at work on {directory}: stop it first") from None
    try:
        yield
    finally:
        os.close(lock)
