"""ssh to machines, and our code to a machine of one's own: the older way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.provider import ClusterState, MachineState
from errors import ConfigError

USER = "ubuntu"
LOG = "/var/log/walking-es/machine.log"
FOLDER = "walking-es"


def machine_of(cluster: ClusterState, worker: int | None) -> MachineState:
    """The head, or the n-th worker machine, from 0.

    Raises:
        ConfigError: there is no such machine that can be reached.
    """
    role = "head" if worker is None else "worker"
    there = [m for m in cluster.machines if m.role == role and m.state == "running"]
    number = worker or 0
    if number >= len(there):
        what = "head" if worker is None else f"worker machine {worker} (counted from 0)"
        raise ConfigError(f"{cluster.name} has no {what} that runs: look at its status")
    if not there[number].address:
        raise ConfigError(f"{there[number].name} has no address yet: try again in a minute")
    return there[number]


def ssh_words(address: str, pem_file: Path | None, remote: Sequence[str] = ()) -> list[str]:
    """The command line that leads to a machine, or runs ``remote`` there."""
    key = ["-i", str(pem_file)] if pem_file is not None else []
    return ["ssh", *key, "-o", "StrictHostKeyChecking=accept-new", f"{USER}@{address}", *remote]


def upload_words(archive: Path, address: str, pem_file: Path | None) -> list[list[str]]:
    """The command lines that bring an archive of our code to a machine and unpack it."""
    key = ["-i", str(pem_file)] if pem_file is not None else []
    options = [*key, "-o", "StrictHostKeyChecking=accept-new"]
    there = f"{USER}@{address}"
    unpack = f"mkdir -p {FOLDER} && tar -xzf {FOLDER}.tar.gz -C {FOLDER} && rm {FOLDER}.tar.gz"
    return [
        ["scp", *options, str(archive), f"{there}:{FOLDER}.tar.gz"],
        ["ssh", *options, there, unpack],
    ]


def next_steps(address: str, pem_file: Path | None) -> list[str]:
    """What to do on a machine that has our code."""
    return [
        " ".join(ssh_words(address, pem_file)),
        "sudo apt-get update && sudo apt-get install -y python3-venv redis-server",
        f"cd {FOLDER} && python3 -m venv .venv && . .venv/bin/activate",
        "pip install -r requirements.txt && pip install --no-deps -r requirements-no-deps.txt",
        "pip install --no-deps -e .",
        "python es/head.py run-server --bind=ADDRESS   # it prints what workers need",
        "python es/experiment.py with walk             # or, on another machine, es/worker.py",
    ]
