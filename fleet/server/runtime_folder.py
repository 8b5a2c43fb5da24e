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


class OwnFolder:
    """A new folder of mode 0700 in ``base``; its name begins with ``prefix`` and ``label``.

    Others of that prefix whose processes were killed are removed on the way: the kernel knows who
    is alive by the lock that each holds, also of processes that we cannot see from here.
    """

    def __init__(self, base: Path, prefix: str, label: str = "") -> None:
        for left in base.glob(f"{prefix}*"):
            _sweep(left)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=f"{prefix}{label}", dir=base))
            lock = self.path / _LOCK
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if lock.exists():
                return
            os.close(self._lock)  # somebody swept it before we had it

    def remove(self) -> None:
        """Remove it, with all that is in it. May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextmanager
def runtime_folder(most_bytes: int = _MOST_BYTES) -> Iterator[Path]:
    """The path of an `OwnFolder`, gone with the context, in one of at most ``most_bytes``."""
    folder = OwnFolder(_base(most_bytes), _PREFIX)
    try:
        yield folder.path
    finally:
        folder.remove()


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
