"""How a cluster of this machine stands, by what its folder holds and which processes live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from cluster.local.folders import ClusterFolder
from cluster.local.machines import is_up
from cluster.provider import ClusterState, MachineState
from cluster.spec import ClusterSpec
from cluster.store import ENDED_KEY, HEAD_KEY, PROGRESS_KEY, Ended, Progress

ADDRESS = "127.0.0.1"

_Json = TypeVar("_Json", bound=msgspec.Struct)


def state_of(cluster: ClusterFolder) -> ClusterState:
    """A cluster as it is found; its folder may be gone, and its processes be there."""
    spec = cluster.spec
    return ClusterState(
        name=spec.name if spec is not None else cluster.key.rpartition("-")[0] or cluster.key,
        key=cluster.key,
        owner=spec.owner if spec is not None else "",
        state=_word(cluster, spec),
        spec=spec,
        machines=tuple(_machines(cluster, spec)),
        progress=_read(cluster, PROGRESS_KEY, Progress),
        ended=_read(cluster, ENDED_KEY, Ended),
    )


def has_ended(cluster: ClusterFolder) -> bool:
    """Whether its run has."""
    return _read(cluster, ENDED_KEY, Ended) is not None


def _word(cluster: ClusterFolder, spec: ClusterSpec | None) -> str:
    ended = has_ended(cluster)
    if not cluster.is_launched:
        if ended:
            return "killed"
        return "starting" if cluster.is_being_changed else "half-launched"
    up = [machine for machine in cluster.machines() if is_up(machine)]
    if ended:
        return "ending" if up and spec is not None and not spec.keep else "ended"
    if not any(machine.role == "head" for machine in up):
        return "stopped"
    return "running" if (cluster.store_path / HEAD_KEY).exists() else "starting"


def _machines(cluster: ClusterFolder, spec: ClusterSpec | None) -> Iterator[MachineState]:
    workers = spec.workers_per_machine if spec is not None else None
    for machine in cluster.machines():
        up = is_up(machine)
        if up or (machine.number < cluster.wanted and not has_ended(cluster)):
            yield MachineState(
                name=machine.name,
                role=machine.role,
                state="running" if up else "gone",
                type=f"{workers} workers" if machine.role == "worker" and workers else "",
                address=ADDRESS if up else "",
                since_s=machine.since_s,
            )


def _read(cluster: ClusterFolder, key: str, kind: type[_Json]) -> _Json | None:
    try:
        return msgspec.json.decode((cluster.store_path / key).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
