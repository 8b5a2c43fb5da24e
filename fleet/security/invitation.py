"""What to type on other machines so that they come to a server, in lines for people."""

from __future__ import annotations

import shlex
import socket
from ipaddress import ip_address
from pathlib import Path

from fleet.connection import in_url, is_loopback
from fleet.security.credentials import Credentials

_ANYWHERE = ("2001:db8::1", "192.0.2.1")
"""Addresses of documentation: asking for the way there sends nothing."""


def invitation(bind: str, port: int, credentials: Credentials) -> list[str]:
    """Where passwords lie, and the commands for worker machines and for heads; none on loopback."""
    lines = invitation_of_workers(bind, port, credentials, whose="the head's")
    if lines:
        scheme = "redis" if credentials.tls is None else "rediss"
        url = f"{scheme}://{in_url(reachable_address(bind))}:{port}/0"
        lines.append("on this machine:")
        lines.append(f"  python es/experiment.py with lander redis_url={url}")
        lines.append(f"  python es/head.py status --watch --redis_url={url}")
    return lines


def invitation_of_workers(
    bind: str, port: int, credentials: Credentials, *, whose: str
) -> list[str]:
    """Where passwords lie, and the commands for worker machines; none on loopback.

    Args:
        bind, port, credentials: the server's.
        whose: the password is that may do everything there.
    """
    if is_loopback(bind):
        return []
    host = reachable_address(bind)
    tls = credentials.tls
    lines = []
    if credentials.password_file is not None:
        lines.append(f"{whose} password: {credentials.password_file} (keep it here)")
    copied, options = [], [f"--master_host={host}", f"--master_port={port}"]
    if credentials.worker_password_file is not None:
        copied.append(credentials.worker_password_file)
        options.append(_copy("--worker_password_file", credentials.worker_password_file))
    if tls is None:
        options.append("--no_tls")
        lines.append("no TLS: whoever is on the network between can read and change everything")
    elif tls.ca_file is not None:
        copied.append(tls.ca_file)
        options.append(_copy("--tls_ca", tls.ca_file))
    if copied:
        lines.append("once for each worker machine:")
        lines.append(f"  scp {shlex.join(map(str, copied))} WORKER_MACHINE:")
    if credentials.is_new_certificate:
        lines.append("  (the certificate is new: machines with an older copy need this one)")
    if credentials.worker_password_file is None:
        lines.append("on each worker machine, with ES_REDIS_WORKER_PASSWORD set there:")
    else:
        lines.append("on each worker machine:")
    lines.append(f"  python es/worker.py workers {' '.join(options)}")
    return lines


def _copy(option: str, path: Path) -> str:
    """``option`` for where scp puts ``path``: shells expand the tilde of a word of its own only."""
    return f"{option} ~/{shlex.quote(path.name)}"


def reachable_address(bind: str) -> str:
    """``bind``, or this machine's address on the way out where that is a wildcard."""
    try:
        is_wildcard = ip_address(bind).is_unspecified
    except ValueError:
        is_wildcard = False
    if not is_wildcard:
        return bind
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ANYWHERE[family == socket.AF_INET], 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
