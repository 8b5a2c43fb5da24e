"""How one gets into a Redis: a user, a password, and whom to believe it is the right server."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

USER_VARIABLE = "ES_REDIS_USER"
PASSWORD_VARIABLE = "ES_REDIS_PASSWORD"
CA_VARIABLE = "ES_REDIS_CA_FILE"
DEFAULT_USER = "default"


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
        """What a process that we start finds it by: every user of the machine can read argv."""
        found = {USER_VARIABLE: self.user, PASSWORD_VARIABLE: self.password or ""}
        if self.ca_file is not None:
            found[CA_VARIABLE] = str(self.ca_file)
        return found


NO_ACCESS = Access()
"""For a server that asks for nothing."""


def access_given() -> Access:
    """What the environment gives. For the edges only."""
    ca_file = os.environ.get(CA_VARIABLE)
    return Access(
        os.environ.get(USER_VARIABLE) or DEFAULT_USER,
        os.environ.get(PASSWORD_VARIABLE) or None,
        Path(ca_file) if ca_file else None,
    )
