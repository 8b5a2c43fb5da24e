"""Folders and files that nobody else on the machine may look into."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from errors import ConfigError

_MAX_SECRET_BYTES = 1024
_OTHERS = 0o077


def private_folder(folder: Path) -> Path:
    """``folder``, made with mode 0700 where it is missing.

    Raises:
        ConfigError: it is there, and not a folder of ours that is closed to others.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made ({error.strerror}): name a folder of your own"
        ) from None
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(
            f"{folder} is not a folder of yours: expected one that only you can enter; name "
            "one that does not exist yet"
        )
    if found.st_mode & _OTHERS:
        # A folder that others may write to, such as /tmp, is theirs too: nobody should close it.
        close_it = "" if found.st_mode & stat.S_IWOTH else f"`chmod 700 {folder}`, or "
        raise ConfigError(
            f"{folder} is open to others (mode {stat.S_IMODE(found.st_mode):04o}), expected 0700: "
            f"{close_it}name a folder that does not exist yet"
        )
    return folder


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, in one step: it is never there half, nor open to others.

    Raises:
        ConfigError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "w") as file:
            file.write(text)
        beside.rename(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): name a file in a folder that is there "
            "and yours"
        ) from None


def read_secret(path: Path, kind: str = "password file", max_bytes: int = _MAX_SECRET_BYTES) -> str:
    """The one line of a file that only its owner may read.

    Args:
        path: the file's.
        kind: of file, for people.
        max_bytes: of the line, its end included.

    Raises:
        ConfigError: it cannot be read, others can read it, or it does not hold one line.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(
            f"{kind} {path} cannot be read ({error.strerror}): name another, or write it "
            "with mode 0600"
        ) from None
    if found.st_mode & _OTHERS or found.st_uid not in (os.getuid(), 0):
        raise ConfigError(
            f"{kind} {path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}, "
            f"user {found.st_uid}): expected 0600 and your own; `chmod 600 {path}`"
        )
    lines = data.decode(errors="replace").splitlines()
    if len(data) > max_bytes or len(lines) != 1 or not lines[0]:
        raise ConfigError(
            f"{kind} {path} holds {len(lines)} lines, expected one line of at most "
            f"{max_bytes} bytes: write that, and nothing else, into it"
        )
    return lines[0]
