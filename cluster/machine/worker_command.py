"""The command line of a cluster's workers, on each machine of theirs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from ipaddress import ip_address

from cluster.machine.child_process import python
from cluster.spec import ClusterSpec
from cluster.store import HeadAddress
from errors import ConfigError


def worker_command(spec: ClusterSpec, head: HeadAddress, include: str) -> list[str]:
    """What a worker machine runs, for a head.

    A command of the user's own may hold ``{master_host}``, ``{master_port}`` and
    ``{num_workers}``; ``python`` is ours.

    Raises:
        ConfigError: such a command cannot be read.
    """
    if spec.worker_command is not None:
        return _own(spec, head)
    words = ["workers", f"--master_host={head.host}", f"--master_port={head.port}"]
    if not head.certificate:
        words.append("--no_tls")
    if spec.workers_per_machine is not None:
        words.append(f"--num_workers={spec.workers_per_machine}")
    if include:
        words.append(f"--include={include}")
    return python("es/worker.py", *words)


def worker_environment(head: HeadAddress, password: str, ca_file: str) -> Mapping[str, str]:
    """How it gets into the head's Redis.

    Args:
        head: the head.
        password: the workers'.
        ca_file: with the head's certificate; empty: it speaks plainly.
    """
    scheme = "rediss" if head.certificate else "redis"
    found = {
        "ES_REDIS_URL": f"{scheme}://{in_url(head.host)}:{head.port}/0",
        "ES_REDIS_WORKER_PASSWORD": password,
    }
    return found | ({"ES_REDIS_CA_FILE": ca_file} if head.certificate else {})


def in_url(host: str) -> str:
    """``host`` as a URL has it: an IPv6 address in brackets."""
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host


def _own(spec: ClusterSpec, head: HeadAddress) -> list[str]:
    try:
        words = shlex.split(spec.worker_command or "")
    except ValueError as error:
        raise ConfigError(f"worker_command={spec.worker_command!r}: {error}") from None
    if not words:
        raise ConfigError("worker_command is empty: expected a program and its arguments")
    num_workers = spec.workers_per_machine
    known = {
        "{master_host}": head.host,
        "{master_port}": str(head.port),
        "{num_workers}": "" if num_workers is None else str(num_workers),
    }
    for name, value in known.items():
        words = [word.replace(name, value) for word in words]
    return [sys.executable if words[0] in ("python", "python3") else words[0], *words[1:]]
