"""Passwords and a certificate for a server that other machines reach: given, or made and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from errors import ConfigError
from fleet.connection import is_loopback
from fleet.security.access import (
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    WORKER_FILE_VARIABLE,
    WORKER_VARIABLE,
)
from fleet.security.private_files import private_folder, read_secret, write_private
from fleet.security.tls import TlsFiles, checked_files, require_tls, self_signed
from fleet.server.redis_server import server_binary

_PASSWORD_BYTES = 32
_OWN_PORT = 6379


class Credentials(NamedTuple):
    """What a server asks for.

    Attributes:
        password, worker_password: ``None`` where nobody needs one.
        password_file, worker_password_file: where they lie; ``None`` where they came otherwise.
        tls: certificate and key.
        is_new_certificate: it was made just now: workers have no copy of it yet.
    """

    password: str | None = None
    worker_password: str | None = None
    password_file: Path | None = None
    worker_password_file: Path | None = None
    tls: TlsFiles | None = None
    is_new_certificate: bool = False

    def __repr__(self) -> str:
        """Where they lie, never what they are."""
        return f"Credentials({self.password_file}, {self.worker_password_file}, {self.tls})"


class Given(NamedTuple):
    """What the command line and the environment say; files before what they would hold.

    A file that is named and not there is written, with a new password.
    """

    password: str | None = None
    worker_password: str | None = None
    password_file: Path | None = None
    worker_password_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    no_tls: bool = False

    def __repr__(self) -> str:
        """Without the passwords."""
        return f"Given({self.password_file}, {self.worker_password_file}, {self.tls_cert})"


def credentials_for(bind: str, port: int, given: Given) -> Credentials:
    """What a server on ``bind`` asks for: what is given, and beyond loopback whatever it lacks.

    Raises:
        ConfigError: a file that others can read, a certificate without its key.
        ServiceUnavailable: TLS is wanted and cannot be had.
    """
    is_private = is_loopback(bind)
    folder = credentials_folder(port)
    password_file, worker_file = given.password_file, given.worker_password_file
    if not is_private:
        if password_file is None and not given.password:
            password_file = private_folder(folder) / "password"
        if worker_file is None and not given.worker_password:
            worker_file = private_folder(folder) / "worker-password"
    tls, is_new = _tls(bind, folder, given, is_wanted=not is_private and not given.no_tls)
    return Credentials(
        _kept(password_file) or given.password or None,
        _kept(worker_file) or given.worker_password or None,
        password_file,
        worker_file,
        tls,
        is_new,
    )


def given_for_server(
    *,
    password_file: Path | None,
    worker_password_file: Path | None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    no_tls: bool = False,
) -> Given:
    """The command line's files, else the environment's passwords or files. For the edges only."""
    return Given(
        os.environ.get(PASSWORD_VARIABLE) if password_file is None else None,
        os.environ.get(WORKER_VARIABLE) if worker_password_file is None else None,
        password_file or _named(PASSWORD_FILE_VARIABLE, unless=PASSWORD_VARIABLE),
        worker_password_file or _named(WORKER_FILE_VARIABLE, unless=WORKER_VARIABLE),
        tls_cert,
        tls_key,
        no_tls,
    )


def worker_credentials(file: Path | None) -> tuple[Path | None, str]:
    """The workers' password for a Redis that is not ours, given or made and kept, after the file
    that it is in, if any. For the edges only.
    """
    given = given_for_server(password_file=None, worker_password_file=file)
    if given.worker_password:
        return None, given.worker_password
    found = given.worker_password_file
    if found is None:
        found = private_folder(credentials_folder(_OWN_PORT)) / "worker-password"
    return found, kept_password(found)


def _named(file_variable: str, *, unless: str) -> Path | None:
    value = os.environ.get(file_variable)
    return Path(value) if value and not os.environ.get(unless) else None


def credentials_folder(port: int) -> Path:
    """Where those that we make stay, for the next start of the server too."""
    settings = os.environ.get("XDG_CONFIG_HOME")
    base = Path(settings) if settings else Path.home() / ".config"
    return base / "walking-es" / f"redis-{port}"


def kept_password(file: Path) -> str:
    """The password in ``file``, which is written where it is missing."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(_PASSWORD_BYTES) + "\n")
    return read_secret(file)


def _kept(file: Path | None) -> str | None:
    return kept_password(file) if file is not None else None


def _tls(bind: str, folder: Path, given: Given, *, is_wanted: bool) -> tuple[TlsFiles | None, bool]:
    if (given.tls_cert is None) != (given.tls_key is None):
        raise ConfigError("--tls_cert and --tls_key go together: name both, or neither")
    if given.tls_cert is not None and given.tls_key is not None:
        return checked_files(given.tls_cert, given.tls_key), False
    if not is_wanted:
        return None, False
    require_tls(server_binary())
    return self_signed(private_folder(folder), bind)
