"""What AWS says of instance types: threads, memory, processor; and how many one may have."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import botocore.exceptions

from cluster.aws.session import Aws, pages
from errors import ConfigError, ResourceExhausted

# Quotas count threads of all standard families together.
_STANDARD = re.compile(r"[acdhimrtz]\d")
_ON_DEMAND_QUOTA = "L-1216C47A"
_SPOT_QUOTA = "L-34B43A08"


class MachineType(NamedTuple):
    """One instance type.

    Attributes:
        name: ``c7i.2xlarge``.
        vcpus: threads.
        memory_mb: MiB.
        architecture: ``x86_64`` or ``arm64``.
        maker: of its processor.
        zones: where it is offered.
    """

    name: str
    vcpus: int
    memory_mb: int
    architecture: str
    maker: str
    zones: frozenset[str]


def describe_types(aws: Aws, names: Collection[str]) -> dict[str, MachineType]:
    """Each type by its name.

    Raises:
        ConfigError: the region has no such type.
    """
    zones: dict[str, set[str]] = {}
    for offer in pages(
        aws.ec2,
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": sorted(names)}],
    ):
        zones.setdefault(offer["InstanceType"], set()).add(offer["Location"])
    if missing := sorted(set(names) - set(zones)):
        raise ConfigError(
            f"{aws.region} has no machines of type {', '.join(missing)}: name others by "
            "--worker_type and --head_type"
        )
    found = pages(
        aws.ec2, "describe_instance_types", "InstanceTypes", InstanceTypes=sorted(set(names))
    )
    return {
        kind["InstanceType"]: MachineType(
            kind["InstanceType"],
            int(kind["VCpuInfo"]["DefaultVCpus"]),
            int(kind["MemoryInfo"]["SizeInMiB"]),
            _architecture(kind["ProcessorInfo"]["SupportedArchitectures"]),
            str(kind["ProcessorInfo"].get("Manufacturer", "")),
            frozenset(zones[kind["InstanceType"]]),
        )
        for kind in found
    }


def one_architecture(types: Collection[MachineType]) -> str:
    """What all of them are: a launch has one image for them.

    Raises:
        ConfigError: they are several.
    """
    found = {kind.architecture for kind in types}
    if len(found) > 1:
        names = ", ".join(f"{kind.name} is {kind.architecture}" for kind in types)
        raise ConfigError(f"instance types of several architectures ({names}): choose one")
    return found.pop()


def check_quota(aws: Aws, on_demand: Mapping[str, int], spot: Mapping[str, int]) -> list[str]:
    """See that the account may have so many threads more.

    Args:
        on_demand, spot: threads by instance type; what is not of a standard family has quotas of
            its own, which are not looked at.

    Returns:
        Lines about what could not be seen.

    Raises:
        ResourceExhausted: it may not.
    """
    notes = []
    for code, wanted, what in (
        (_ON_DEMAND_QUOTA, on_demand, "on demand"),
        (_SPOT_QUOTA, spot, "as spot"),
    ):
        threads = sum(count for kind, count in wanted.items() if _STANDARD.match(kind))
        if threads == 0:
            continue
        quota = _quota(aws, code)
        if quota is None:
            notes.append(f"quota of vCPUs {what} could not be read: {threads} are needed")
            continue
        used = _threads_in_use(aws, is_spot=what == "as spot")
        if used + threads > quota:
            raise ResourceExhausted(
                f"the account may run {quota:.0f} vCPUs {what} in {aws.region}, {used} run and "
                f"{threads} more are needed: launch fewer or smaller machines, or ask for more by "
                f"`aws service-quotas request-service-quota-increase --service-code ec2 "
                f"--quota-code {code} --desired-value {used + threads}`"
            )
    return notes


def _quota(aws: Aws, code: str) -> float | None:
    try:
        quota = aws.quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return None
    return float(quota)


def _threads_in_use(aws: Aws, is_spot: bool) -> int:
    running = {"Name": "instance-state-name", "Values": ["pending", "running"]}
    return sum(
        instance.get("CpuOptions", {}).get("CoreCount", 1)
        * instance.get("CpuOptions", {}).get("ThreadsPerCore", 2)
        for reservation in pages(aws.ec2, "describe_instances", "Reservations", Filters=[running])
        for instance in reservation["Instances"]
        if (instance.get("InstanceLifecycle") == "spot") is is_spot
        and _STANDARD.match(instance["InstanceType"])
    )


def _architecture(supported: Collection[str]) -> str:
    return "arm64" if "arm64" in supported else "x86_64"
