"""A unix socket's path that is ours alone: one server at a time, and none that is left over."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

from errors import ConfigError, ResourceExhausted
from fleet.security.private_files import private_folder

MAX_SOCKET_BYTES = 107
"""What fits into the kernel's ``sun_path`` with its closing zero."""


class SocketClaim:
    """Holds ``path`` for a server that is about to listen there, until `release`.

    A lock decides between two that start at once: the server itself would take the path from one
    that is alive. Whoever dies loses the lock.

    Raises:
        ConfigError: the path is too long, not in a private folder of ours, or something else's.
        ResourceExhausted: a server is at work there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        size = len(os.fsencode(self.path))
        if size > MAX_SOCKET_BYTES:
            raise ConfigError(
                f"the socket's path {self.path} is {size} bytes long, expected at most "
                f"{MAX_SOCKET_BYTES}: name a shorter one, such as /tmp/es-{os.getuid()}/relay"
            )
        private_folder(self.path.parent)
        self._lock_path = self.path.with_name(self.path.name + ".lock")
        self._is_ours = False
        self._lock = self._locked()
        try:
            self._remove_stale()
            self._is_ours = True
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others have the path, when the server has ended. May be called twice."""
        if self._lock >= 0:
            if self._is_ours:
                self.path.unlink(missing_ok=True)  # a server that was killed leaves it
            self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _locked(self) -> int:
        while True:
            number = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(number)
                raise self._in_use() from None
            try:
                if self._lock_path.stat().st_ino == os.fstat(number).st_ino:
                    return number
            except FileNotFoundError:
                pass
            os.close(number)  # its last holder removed it while we asked for it

    def _remove_stale(self) -> None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ConfigError(f"{self.path} is not a socket: remove it, or name another path")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                self.path.unlink(missing_ok=True)
                return
            except OSError:
                pass  # whatever it is, something holds it
        raise self._in_use()

    def _in_use(self) -> ResourceExhausted:
        return ResourceExhausted(
            f"a server is at work on {self.path}: stop it, or name another socket"
        )
