"""What our Redis server is told: where to listen, whom to let in, limits."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

from errors import ConfigError
from fleet.connection import in_url, is_loopback
from fleet.security import acl
from fleet.security.access import Access
from fleet.security.tls import TlsFiles

_MB = 2**20
_OUTPUT_LIMIT = "1gb 256mb 60"
"""A client that does not fetch what it asked for is cut off; a 40 MB generation is far below."""


class ServerSettings(NamedTuple):
    """A server's own settings, checked by `check`.

    Attributes:
        port, bind: where it listens on TCP; no port: nowhere.
        password: the head's; workers may use it too.
        worker_password: of the user ``worker``, who may do what `fleet.security.acl` says.
        tls: makes ``port`` speak TLS, and nothing else.
        no_tls: says that none is wanted beyond loopback.
    """

    port: int | None = None
    bind: str = "127.0.0.1"
    password: str | None = None
    worker_password: str | None = None
    tls: TlsFiles | None = None
    no_tls: bool = False

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.port is None or is_loopback(self.bind)

    @property
    def url(self) -> str:
        """Of its TCP port."""
        scheme = "redis" if self.tls is None else "rediss"
        return f"{scheme}://{in_url(self.bind)}:{self.port}/0"

    @property
    def access(self) -> Access:
        """The head's."""
        ca_file = self.tls.ca_file if self.tls is not None else None
        return Access(password=self.password, ca_file=ca_file)

    def check(self) -> None:
        """Refuse what would let anybody in.

        Raises:
            ConfigError: beyond this machine without a password, or without TLS and a word on it.
        """
        if self.worker_password is not None and not self.password:
            raise ConfigError(
                "a password for workers and none for the head would let everybody be the head: "
                "set ES_REDIS_PASSWORD or --password_file too"
            )
        if self.password is not None and self.password == self.worker_password:
            raise ConfigError("the head's and the workers' password are the same: expected two")
        if self.is_private:
            return
        if not self.password:
            raise ConfigError(
                f"a server on {self.bind} without a password is anybody's: set ES_REDIS_PASSWORD "
                "or --password_file, or listen on 127.0.0.1"
            )
        if self.tls is None and not self.no_tls:
            raise ConfigError(
                f"a server on {self.bind} without TLS shows passwords to the network: give it a "
                "certificate (--tls_cert, --tls_key), or say --no_tls where the network itself "
                "encrypts or is yours alone"
            )

    def text(self, folder: Path, socket_path: Path) -> str:
        """The configuration; it may hold hashes of passwords, never a password."""
        lines = [f'unixsocket "{socket_path}"', "unixsocketperm 700", f'dir "{folder}"']
        if self.port is None:
            lines.append("port 0")
        elif self.tls is None:
            lines += [f"bind {self.bind}", f"port {self.port}"]
        else:
            lines += [f"bind {self.bind}", "port 0", f"tls-port {self.port}"]
            lines += [f'tls-cert-file "{self.tls.certificate}"', f'tls-key-file "{self.tls.key}"']
            lines += ["tls-auth-clients no", 'tls-protocols "TLSv1.2 TLSv1.3"']
        lines += ['save ""', "appendonly no", "logfile server.log", "daemonize no"]
        # Full, it refuses writes with an error and stays; the kernel would take it, and more.
        lines.append(f"maxmemory {psutil.virtual_memory().total // 2 // _MB}mb")
        lines.append("maxmemory-policy noeviction")
        lines.append(f"client-output-buffer-limit normal {_OUTPUT_LIMIT}")
        if self.password:
            lines += acl.user_lines(self.password, self.worker_password)
        if self.worker_password is not None:
            # What all clients hold at once; those that hold most are cut off first.
            lines.append("maxmemory-clients 50%")
        return "\n".join(lines) + "\n"
