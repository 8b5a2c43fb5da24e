"""A file in shared memory that lives as long as its last user.

Each user holds a shared lock (flock) on the file, which the kernel drops when the user dies. Who
leaves tries for the exclusive lock, and having it, is the last and removes the file. One that is
being written bears another name and is locked exclusively by its builder.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from pathlib import Path

from errors import ResourceExhausted


def open_shared(path: Path, size: int) -> int | None:
    """A descriptor of ``path``, ``size`` bytes of ours, locked shared; ``None`` where it is gone.

    Raises:
        ResourceExhausted: the file is another user's, no regular file, or of another size.
    """
    try:
        _refuse_unless_ours(path, path.lstat(), size)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        _refuse_unless_ours(path, os.fstat(fd), size)
        fcntl.flock(fd, fcntl.LOCK_SH)
        if still_names(path, fd):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def claim(path: Path) -> int | None:
    """A descriptor of ``path``, created or taken over, locked exclusively; ``None`` where another
    process holds it. The lock of a killed builder died with it.

    Raises:
        ResourceExhausted: the file is another user's, or no regular file.
    """
    if os.path.lexists(path):
        try:
            _refuse_unless_ours(path, path.lstat())
        except FileNotFoundError:
            return None
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _refuse_unless_ours(path, os.fstat(fd))
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if still_names(path, fd):
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def lay_out(fd: int, size: int) -> None:
    """Have the file be ``size`` zeros, of which none takes any room yet."""
    os.ftruncate(fd, 0)
    os.ftruncate(fd, size)


def preallocate(fd: int, start: int, size: int) -> None:
    """Own ``size`` bytes from ``start`` on now: writing into a full tmpfs through a mapping is a
    SIGBUS later.

    Raises:
        OSError: ``ENOSPC`` and its kind.
    """
    if sys.platform != "darwin":
        os.posix_fallocate(fd, start, size)


def publish(fd: int, building: Path, path: Path) -> None:
    """Give the file at ``building``, complete and claimed as ``fd``, its final name ``path``."""
    os.fchmod(fd, 0o400)
    building.rename(path)
    fcntl.flock(fd, fcntl.LOCK_SH)


def still_names(path: Path, fd: int) -> bool:
    """Whether ``path`` is the file open at ``fd``, not a later one or none."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def leave(path: Path, fd: int, pid: int) -> None:
    """Unlock and close ``fd``; remove ``path`` if no other process holds it.

    A child forked from ``pid`` shares its lock and must not judge by it: there this only closes.
    """
    if os.getpid() == pid:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if still_names(path, fd):
                path.unlink()
        except OSError:
            pass  # somebody else still uses it, or its folder is gone
        # A mapping holds a duplicate of fd, and with it the lock, as long as a view of it lives.
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _refuse_unless_ours(path: Path, status: os.stat_result, size: int | None = None) -> None:
    """Anyone may put a file into shared memory; only our own is worth its name."""
    if not stat.S_ISREG(status.st_mode):
        wrong = "not a regular file"
    elif status.st_uid != os.getuid():
        wrong = f"owned by user {status.st_uid}"
    elif status.st_mode & 0o022:
        wrong = "writable by others"
    elif size is not None and status.st_size != size:
        wrong = f"{status.st_size} bytes, expected {size}"
    else:
        return
    raise ResourceExhausted(
        f"{path} is in the way of our noise table: {wrong}; remove it or set noise_dir=FOLDER "
        "(ES_NOISE_DIR)"
    )
