"""The way into a Redis: what is given, what this machine knows of its own server, or a question."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from errors import AccessRefused, ServiceUnavailable
from fleet.connection import connect, without_password
from fleet.security.access import (
    DEFAULT_USER,
    WORKER_USER,
    Access,
    access_given,
    mirror_access_given,
)
from fleet.security.private_files import read_secret
from fleet.server.server_file import ours_at

_LOOK_S = 5.0


def find_access(
    url: str,
    *,
    as_worker: bool = False,
    password_file: Path | None = None,
    worker_password_file: Path | None = None,
    tls_ca: Path | None = None,
    may_ask: bool = True,
) -> Access:
    """How to get into the Redis at ``url``. For the edges only.

    What the command line gives counts before the environment, then what ``run-server`` on this
    machine left for its own server; at last, on a terminal, whoever sits there is asked.

    Args:
        url: the server's.
        as_worker, password_file, worker_password_file, tls_ca: as `access_given`.
        may_ask: whether to ask on a terminal when the server wants a password.

    Raises:
        ConfigError: a file that cannot be read, or that others can read.
    """
    access = access_given(
        as_worker=as_worker,
        password_file=password_file,
        worker_password_file=worker_password_file,
        tls_ca=tls_ca,
    )
    if access.password is None:
        access = _known_here(url, access, as_worker=as_worker)
    if access.password is None and may_ask and sys.stdin.isatty() and _is_wanted(url, access):
        who = WORKER_USER if as_worker and access.user == DEFAULT_USER else access.user
        access = Access(who, _asked(url, who), access.ca_file)
    return access


def find_mirror_access(url: str, password_file: Path | None = None) -> Access:
    """How to get into this machine's own Redis at ``url`` as who may do everything there: what is
    given, else what that server left beside its socket. For the edges only.

    Raises:
        ConfigError: a file that cannot be read, or that others can read.
    """
    access = mirror_access_given(password_file)
    return access if access.password is not None else _known_here(url, access, as_worker=False)


def _known_here(url: str, access: Access, *, as_worker: bool) -> Access:
    ours = ours_at(url)
    if ours is None:
        return access
    file, user = ours.password_file, access.user
    if as_worker and ours.worker_password_file:
        file, user = ours.worker_password_file, WORKER_USER
    ca_file = access.ca_file or (Path(ours.ca_file) if ours.ca_file else None)
    return Access(user, read_secret(Path(file)) if file else None, ca_file)


def _is_wanted(url: str, access: Access) -> bool:
    try:
        connect(url, access=access, connect_timeout_s=_LOOK_S).close()
    except AccessRefused:
        return True
    except ServiceUnavailable:
        pass  # whoever needs it will say so
    return False


def _asked(url: str, user: str) -> str | None:
    prompt = f"Password of {user} for Redis at {without_password(url)}: "
    try:
        return getpass.getpass(prompt, stream=sys.stderr) or None
    except (EOFError, KeyboardInterrupt):
        return None
