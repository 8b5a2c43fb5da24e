"""How one gets into a Redis: a user, a password, and whom to believe it is the right server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from errors import ConfigError
from fleet.security.private_files import read_secret

USER_VARIABLE = "ES_REDIS_USER"
PASSWORD_VARIABLE = "ES_REDIS_PASSWORD"
PASSWORD_FILE_VARIABLE = "ES_REDIS_PASSWORD_FILE"
WORKER_VARIABLE = "ES_REDIS_WORKER_PASSWORD"
WORKER_FILE_VARIABLE = "ES_REDIS_WORKER_PASSWORD_FILE"
CA_VARIABLE = "ES_REDIS_CA_FILE"
MIRROR_VARIABLE = "ES_MIRROR_PASSWORD"
MIRROR_FILE_VARIABLE = "ES_MIRROR_PASSWORD_FILE"
DEFAULT_USER = "default"
WORKER_USER = "worker"


@dataclass(frozen=True)
class Access:
    """What a client shows, and what it asks to see.

    Attributes:
        user: of Redis's access control list.
        password: never shown, not even by ``repr``.
        ca_file: the certificate that a server behind ``rediss://`` must bear or be signed with;
            ``None`` trusts the system's authorities.
    """

    user: str = DEFAULT_USER
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def options(self, url: str) -> dict[str, Any]:
        """Arguments of `redis.Redis.from_url` and its asynchronous twin."""
        options: dict[str, Any] = {}
        if self.password:
            options["password"] = self.password
            if self.user != DEFAULT_USER:
                options["username"] = self.user
        if self.ca_file is not None and url.startswith("rediss:"):
            options["ssl_ca_certs"] = str(self.ca_file)
        return options

    def environment(self) -> dict[str, str]:
        """What a process that we start finds it by: every user of the machine can read argv.

        It finds this and nothing else: what it would inherit is blotted out.
        """
        return {
            USER_VARIABLE: self.user,
            PASSWORD_VARIABLE: self.password or "",
            PASSWORD_FILE_VARIABLE: "",
            WORKER_VARIABLE: "",
            WORKER_FILE_VARIABLE: "",
            CA_VARIABLE: str(self.ca_file) if self.ca_file is not None else "",
        }


NO_ACCESS = Access()
"""For a server that asks for nothing."""


def access_given(
    *,
    as_worker: bool = False,
    password_file: Path | None = None,
    worker_password_file: Path | None = None,
    tls_ca: Path | None = None,
) -> Access:
    """What the command line gives, else the environment. For the edges only.

    Args:
        as_worker: a worker's password counts before the head's, where both are given.
        password_file, worker_password_file: with the head's password, with the workers'.
        tls_ca: the server's certificate, or that of who signed it.

    Raises:
        ConfigError: a file that cannot be read, a secret that others can read, or no certificate.
    """
    environment = os.environ
    ca_file = tls_ca or _path(environment, CA_VARIABLE)
    if ca_file is not None:
        _check_certificate(ca_file)
        ca_file = ca_file.absolute()  # for processes that we start elsewhere
    head = _password(password_file, PASSWORD_VARIABLE, PASSWORD_FILE_VARIABLE)
    worker = _password(worker_password_file, WORKER_VARIABLE, WORKER_FILE_VARIABLE)
    says_head = password_file is not None and worker_password_file is None
    if worker is not None and (head is None or (as_worker and not says_head)):
        return Access(WORKER_USER, worker, ca_file)
    user = environment.get(USER_VARIABLE) or DEFAULT_USER
    return Access(DEFAULT_USER if password_file is not None else user, head, ca_file)


def mirror_access_given(password_file: Path | None = None) -> Access:
    """Into a machine's own Redis, which asks for a password where other machines use it too. For
    the edges only.

    Raises:
        ConfigError: a file that cannot be read, or that others can read.
    """
    return Access(password=_password(password_file, MIRROR_VARIABLE, MIRROR_FILE_VARIABLE))


def _password(file: Path | None, variable: str, file_variable: str) -> str | None:
    if file is None:
        given = os.environ.get(variable)
        if given:
            return given
        file = _path(os.environ, file_variable)
    return read_secret(file) if file is not None else None


def _check_certificate(file: Path) -> None:
    """Refuse at once what every attempt to connect would fail with."""
    if not file.is_file():
        raise ConfigError(f"certificate {file} is not there: name another with --tls_ca")
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # what ssl raises is one too
        why = getattr(error, "reason", None) or error.strerror
        raise ConfigError(
            f"{file} is no certificate that can be read ({why}): name the server.crt that "
            "`python es/head.py run-server` wrote, with --tls_ca"
        ) from None


def _path(environment: Mapping[str, str], variable: str) -> Path | None:
    value = environment.get(variable)
    return Path(value) if value else None
