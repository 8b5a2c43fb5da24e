"""How clusters stand: from what is found of them, and what their heads last wrote."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

import botocore.exceptions
import msgspec

from cluster.aws.inventory import Thing
from cluster.aws.names import disk_gb
from cluster.aws.prices import Prices, beside_usd_per_hour
from cluster.aws.session import Aws, pages
from cluster.provider import ClusterState, MachineState
from cluster.spec import SPEC_KEY, ClusterSpec, read_spec
from cluster.store import ENDED_KEY, PROGRESS_KEY, Ended, Progress, Store
from errors import ConfigError

Kind = TypeVar("Kind")

_PAID_FOR = ("pending", "running")


def name_in(key: str) -> str:
    """The name that people call the cluster of that key."""
    return key.rpartition("-")[0]


def state_of(
    key: str, owner: str, things: Sequence[Thing], store: Store, prices: Prices
) -> ClusterState:
    """One cluster.

    Args:
        key, owner: whose it is.
        things: what was found of it.
        store: its own.
        prices: in its region.
    """
    spec = _spec(store)
    progress = _read(store, PROGRESS_KEY, Progress)
    ended = _read(store, ENDED_KEY, Ended)
    machines = tuple(
        sorted(
            (_machine(thing, prices) for thing in things if thing.kind == "instance"),
            key=lambda machine: (machine.role, machine.since_s, machine.name),
        )
    )
    return ClusterState(
        name=name_in(key),
        key=key,
        owner=owner or (spec.owner if spec else ""),
        state=_word(things, machines, spec, progress, ended is not None),
        spec=spec,
        machines=machines,
        progress=progress,
        ended=ended,
        usd=usd_so_far(machines, progress, time.time()),
    )


def usd_so_far(machines: Iterable[MachineState], progress: Progress | None, now_s: float) -> float:
    """What a cluster has cost, estimated: what its head counted, and its machines since then."""
    counted = progress.usd if progress is not None and progress.usd is not None else None
    since = progress.time_s if progress is not None and counted is not None else 0.0
    return (counted or 0.0) + sum(
        machine.usd_per_hour * max(0.0, now_s - max(since, machine.since_s)) / 3600
        for machine in machines
    )


def _word(
    things: Sequence[Thing],
    machines: Sequence[MachineState],
    spec: ClusterSpec | None,
    progress: Progress | None,
    has_ended: bool,
) -> str:
    alive = [machine for machine in machines if machine.state in _PAID_FOR]
    has_head = any(machine.role == "head" for machine in alive)
    has_group = any(thing.kind == "auto scaling group" for thing in things)
    if not things:
        return "killed"
    if has_ended:
        return "ending" if alive else "ended"
    if spec is None or not has_group:
        return "half-launched"
    if not has_head:
        is_over = time.time() > spec.ends_s
        return ("ending" if alive else "ended") if is_over else "stopped"
    return "running" if progress is not None else "starting"


def _machine(thing: Thing, prices: Prices) -> MachineState:
    found = thing.found
    is_spot = found.get("InstanceLifecycle") == "spot"
    zone = str(found.get("Placement", {}).get("AvailabilityZone", ""))
    usd = 0.0
    if thing.state in _PAID_FOR:
        usd = prices.at(found["InstanceType"], is_spot, zone) + beside_usd_per_hour(disk_gb(found))
    return MachineState(
        name=thing.id,
        role=thing.role,
        state=thing.state,
        type=found["InstanceType"],
        address=str(found.get("PublicIpAddress") or found.get("PrivateIpAddress") or ""),
        is_spot=is_spot,
        since_s=found["LaunchTime"].timestamp(),
        usd_per_hour=usd,
    )


def _spec(store: Store) -> ClusterSpec | None:
    data = store.get(SPEC_KEY)
    try:
        return read_spec(data) if data is not None else None
    except ConfigError:
        return None


def _read(store: Store, key: str, kind: type[Kind]) -> Kind | None:
    data = store.get(key)
    try:
        return msgspec.json.decode(data, type=kind) if data is not None else None
    except msgspec.DecodeError:
        return None


def stored_keys(aws: Aws, bucket: str, name: str = "") -> list[str]:
    """Keys of clusters that have files in the bucket, of that name or key."""
    found = pages(
        aws.s3,
        "list_objects_v2",
        "CommonPrefixes",
        Bucket=bucket,
        Prefix=f"clusters/{name}",
        Delimiter="/",
    )
    keys = [prefix["Prefix"].split("/")[1] for prefix in found]
    return [key for key in keys if not name or name in (key, name_in(key))]


def failures(aws: Aws, group: str) -> list[str]:
    """Why a group could not start machines of late, in AWS's words; the newest first."""
    found: dict[str, None] = {}
    try:
        answer = aws.autoscaling.describe_scaling_activities(
            AutoScalingGroupName=group, MaxRecords=20
        )
    except botocore.exceptions.ClientError:
        return []
    for activity in answer["Activities"]:
        if activity.get("StatusCode") in ("Successful", "InProgress", "PreInService"):
            break
        found[" ".join(str(activity.get("StatusMessage", "")).split())] = None
    return [text for text in found if text]
