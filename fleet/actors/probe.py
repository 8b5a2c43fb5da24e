"""Whether there is a Ray cluster at an address: asked in seconds, where Ray would take minutes."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from errors import ConfigError, ServiceUnavailable
from fleet.figures import harmless

_CONNECT_S = 3.0
_ANSWER_S = 5.0
_FORMS = "give auto, ray://HOST:PORT, or nothing for one of this run's own"
_CLIENT_PORT = 10001

# RFC 9113, sections 3.4 and 4.1: what a client says first, and the frame that follows it.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = 4
_NO_SETTINGS = bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])


def address_on_this_machine() -> str:
    """``host:port`` of the cluster that this machine is a node of, or what RAY_ADDRESS says.

    Raises:
        ServiceUnavailable: there is none, or several.
    """
    named = os.environ.get("RAY_ADDRESS", "")
    if named.startswith("ray://"):
        return named
    from ray._private import services  # nothing public tells without connecting, for minutes

    try:
        return str(services.canonicalize_bootstrap_address("auto"))
    except (ConnectionError, ValueError) as error:
        several = "several Ray clusters" if "multiple" in str(error) else "no Ray cluster"
        raise ServiceUnavailable(
            f"ray_address=auto: {several} on this machine: start one with `ray start --head`, name "
            "it in RAY_ADDRESS, or leave ray_address out for one of this run's own"
        ) from None


def refuse_unreachable(address: str) -> None:
    """Return where a cluster answers at ``host:port`` or ``ray://host:port``.

    Raises:
        ConfigError: it is no such address.
        ServiceUnavailable: nobody answers there, or somebody who does not speak as Ray does.
    """
    host, port = _parsed(address)
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError as error:
        reason = harmless(str(error))
        raise ServiceUnavailable(
            f"no Ray cluster answers at {address} ({reason}): is it up, and its port reachable "
            "from here?"
        ) from None
    if os.environ.get("RAY_USE_TLS", "0") in ("", "0") and not _speaks(host, port):
        raise ServiceUnavailable(
            f"what answers at {address} is no Ray cluster: the client server's usual port is "
            f"{_CLIENT_PORT}"
        )


def _parsed(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme not in ("", "ray"):
        raise ConfigError(f"ray_address={address} is no address of a Ray cluster: {_FORMS}")
    return host, port


def _speaks(host: str, port: int) -> bool:
    """Whether it answers HTTP/2's greeting, as all of Ray's servers do: with its settings."""
    try:
        with socket.create_connection((host, port), _CONNECT_S) as connection:
            connection.settimeout(_ANSWER_S)
            connection.sendall(_PREFACE + _NO_SETTINGS)
            answer = connection.recv(len(_NO_SETTINGS), socket.MSG_WAITALL)
    except OSError:
        return False
    return len(answer) == len(_NO_SETTINGS) and answer[3] == _SETTINGS
