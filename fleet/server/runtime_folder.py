"""A folder for the sockets of one process, which nobody else may enter and which goes with it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "es-machine-"
_LOCK = "owner"
_MOST_BYTES = 60
_YOUNG_S = 60.0


@contextmanager
def runtime_folder(most_bytes: int = _MOST_BYTES) -> Iterator[Path]:
    """A new folder of mode 0700, gone with the context, in one of at most ``most_bytes``.

    Those of processes that were killed are removed on the way: the kernel knows who is alive by
    the lock that each holds, also of processes that we cannot see from here.
    """
    base = _base(most_bytes)
    for left in base.glob(f"{_PREFIX}*"):
        _sweep(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _base(most_bytes: int) -> Path:
    for named in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()):
        if named and len(os.fsencode(named)) <= most_bytes and os.access(named, os.W_OK):
            return Path(named)
    return Path("/tmp")


def _sweep(folder: Path) -> None:
    try:
        found = folder.lstat()
        if found.st_uid != os.getuid():
            return
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        if folder.is_dir() and time.time() - found.st_mtime > _YOUNG_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
