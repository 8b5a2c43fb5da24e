"""Machines of a local cluster put up, each as a process group with its own relay and workers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from cluster.local.folders import HEAD, ClusterFolder, MachineFolder
from cluster.local.processes import MACHINE_VARIABLE, Leader, end, start
from cluster.machine.platform import MachineSettings
from cluster.store import FolderStore
from errors import ResourceExhausted

_PATIENCE_S = 20.0
_STEERING = ("ES_", "AWS_", "WALKING_ES_")
"""What a user has set for commands given here: a cloud's machine would not have it either."""
_ABOUT_THE_MACHINE = {"ES_NOISE_DIR"}


def put_up(cluster: ClusterFolder, environment: Mapping[str, str]) -> None:
    """Start what is missing: the head, and worker machines until there are as many as are wanted.

    Raises:
        ResourceExhausted: a program cannot be started.
    """
    names = [HEAD, *(f"worker-{number}" for number in range(cluster.wanted))]
    for name in names:
        machine = cluster.machine(name)
        if not is_up(machine):
            _start(cluster, machine, environment)


def let_go(cluster: ClusterFolder, size: int) -> list[int]:
    """End worker machines from the ``size``-th on, what they have in hand given back first; ids of
    processes that could not be ended.
    """
    leaving = [machine for machine in cluster.machines() if machine.number >= size]
    return end(leaders(leaving), _PATIENCE_S)


def leaders(machines: Iterable[MachineFolder]) -> dict[Path, Leader | None]:
    """Machines as `processes.end` wants them."""
    return {machine.path: machine.leader for machine in machines}


def is_up(machine: MachineFolder) -> bool:
    """Whether its first process is there."""
    leader = machine.leader
    return leader is not None and leader.is_alive


def _start(cluster: ClusterFolder, machine: MachineFolder, environment: Mapping[str, str]) -> None:
    machine.work.mkdir(parents=True, exist_ok=True)
    settings = MachineSettings(
        provider="local",
        role=machine.role,
        key=cluster.key,
        store=str(cluster.store_path),
        work_dir=str(machine.work),
        name=machine.name,
        redis_port=_free_port() if machine.role == "head" else 6379,
        include=str(cluster.include) if cluster.include.is_dir() else "",
    )
    FolderStore(machine.path).put(machine.settings.name, msgspec.json.encode(settings))
    program = f"cluster.machine.{machine.role}"
    try:
        machine.leader = start(
            [sys.executable, "-P", "-m", program, str(machine.settings)],
            folder=cluster.source,
            log=machine.log,
            environment=_environment(cluster, machine, environment),
        )
    except OSError as error:
        raise ResourceExhausted(
            f"{machine.name} cannot be started ({error.strerror}): end something else, and resize"
        ) from None


def _environment(
    cluster: ClusterFolder, machine: MachineFolder, environment: Mapping[str, str]
) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(_STEERING) or name in _ABOUT_THE_MACHINE
    }
    path = [str(cluster.source), *filter(None, [environment.get("PYTHONPATH")])]
    return kept | {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUNBUFFERED": "1",
        MACHINE_VARIABLE: str(machine.path),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
