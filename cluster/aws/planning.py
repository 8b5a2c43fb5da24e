"""What a launch would make, at what price, and whether it can: all looked up, nothing made."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import botocore.exceptions

from cluster.aws.image import Image, choose_image
from cluster.aws.machine_types import (
    MachineType,
    check_quota,
    describe_types,
    one_architecture,
)
from cluster.aws.network import Network, find_network
from cluster.aws.prices import Prices, beside_usd_per_hour
from cluster.aws.session import Aws, code_of
from cluster.aws.settings import AwsSettings
from cluster.provider import Plan
from cluster.spec import ClusterSpec
from errors import ConfigError


class Survey(NamedTuple):
    """What was found out.

    Attributes:
        types: of head and workers, by name.
        network: of the settings; subnets: those of it whose zone has the worker types.
        image: that machines start from.
        notes: what the user should know.
    """

    types: Mapping[str, MachineType]
    network: Network
    subnets: tuple[str, ...]
    image: Image
    notes: tuple[str, ...]


def survey(aws: Aws, settings: AwsSettings, spec: ClusterSpec, requirements: str) -> Survey:
    """Look at what a launch would need, before anything is made.

    Args:
        aws, settings, spec: the launch.
        requirements: hash of what a baked image must have installed.

    Raises:
        ConfigError: a setting that this account and region cannot meet.
        ResourceExhausted: a quota.
    """
    if settings.on_demand_base > spec.size:
        raise ConfigError(
            f"on_demand_base={settings.on_demand_base}: expected no more than size={spec.size}"
        )
    types = describe_types(aws, {settings.head_type, *settings.worker_types})
    architecture = one_architecture(list(types.values()))
    _check_key(aws, settings)
    network = find_network(aws, settings)
    subnets = _subnets(network, settings, types)
    image = choose_image(aws, architecture, requirements, settings.image_id)
    spot, on_demand = _threads(settings, spec, types)
    notes = [*check_quota(aws, on_demand, spot), *_maker_notes(types)]
    return Survey(types, network, subnets, image, tuple(notes))


def make_plan(settings: AwsSettings, spec: ClusterSpec, found: Survey, prices: Prices) -> Plan:
    """The plan for people, with its price."""
    head = prices.of(settings.head_type, spot=False)
    spots = settings.spot and spec.size > settings.on_demand_base
    each = [prices.of(kind, spot=spots) for kind in settings.worker_types]
    full = [prices.of(kind, spot=False).usd_per_hour for kind in settings.worker_types]
    beside = beside_usd_per_hour(settings.volume_gb)
    base = spec.size if not settings.spot else settings.on_demand_base
    usual = statistics.median(price.usd_per_hour for price in each)
    cap = max(full) if settings.max_price is None else min(max(full), settings.max_price)
    hourly = head.usd_per_hour + base * min(full) + (spec.size - base) * usual
    most = head.usd_per_hour + base * max(full) + (spec.size - base) * cap
    hourly, most = (usd + (spec.size + 1) * beside for usd in (hourly, most))
    at_most = most * spec.max_hours
    if spec.budget_usd is not None:
        at_most = min(at_most, spec.budget_usd)
    low, high = (f(price.usd_per_hour for price in each) for f in (min, max))
    kinds = ", ".join(_shown(found.types[kind]) for kind in settings.worker_types)
    sold = "as spot" if spots else "on demand"
    price = f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"
    some = f", {base} of them on demand" if spots and base else ""
    below = f", none above {cap:.4f}" if spots else ""
    lines = [
        f"cluster {spec.key} of {spec.owner} in {len(found.subnets)} subnets of {_zones(found)}",
        f"head: {_shown(found.types[settings.head_type])}, on demand, {head.usd_per_hour:.4f} "
        f"USD an hour ({head.source})",
        f"workers: {spec.size} of {kinds}, {sold}{some}, {price} USD an hour each "
        f"({'; '.join(sorted({price.source for price in each}))}){below}",
        f"each with {settings.volume_gb} GB of encrypted disk and a public address: {beside:.4f} "
        "USD an hour",
        f"image: {found.image.image_id}, {found.image.why}",
        *found.notes,
        *([_too_cheap(cap, low)] if spots and cap < low else []),
        f"in all {hourly:.2f} USD an hour; everything ends after {spec.max_hours:g} hours"
        + (f" or {spec.budget_usd:g} USD" if spec.budget_usd is not None else "")
        + f", having cost {at_most:.2f} USD at most",
    ]
    return Plan(lines, usd_per_hour=hourly, usd_at_most=at_most)


def _too_cheap(cap: float, low: float) -> str:
    return (
        f"max_price={cap:.4f} is below what any of these costs as spot now ({low:.4f}): no worker "
        "machine will come until one is cheaper"
    )


def _shown(kind: MachineType) -> str:
    return f"{kind.name} ({kind.vcpus} vCPUs, {kind.memory_mb / 1024:.0f} GB, {kind.maker})"


def _zones(found: Survey) -> str:
    pairs = zip(found.network.subnets, found.network.zones, strict=True)
    return ", ".join(sorted({zone for subnet, zone in pairs if subnet in found.subnets}))


def _check_key(aws: Aws, settings: AwsSettings) -> None:
    if settings.key_name is None:
        return
    try:
        aws.ec2.describe_key_pairs(KeyNames=[settings.key_name])
    except botocore.exceptions.ClientError as error:
        if code_of(error) != "InvalidKeyPair.NotFound":
            raise
        raise ConfigError(
            f"key_name={settings.key_name}: {aws.region} has no such key pair: make one by "
            "`aws ec2 create-key-pair`, or leave it out (nothing but ssh needs it)"
        ) from None


def _subnets(
    network: Network, settings: AwsSettings, types: Mapping[str, MachineType]
) -> tuple[str, ...]:
    """Those in zones that have the head's type and one of the workers'."""
    head = types[settings.head_type].zones
    workers = frozenset[str]().union(*(types[kind].zones for kind in settings.worker_types))
    pairs = zip(network.subnets, network.zones, strict=True)
    fitting = tuple(subnet for subnet, zone in pairs if zone in head & workers)
    if not fitting:
        raise ConfigError(
            f"no subnet is in a zone that has {settings.head_type} and one of "
            f"{', '.join(settings.worker_types)}: name other types or other --subnet_ids"
        )
    return fitting


def _threads(
    settings: AwsSettings, spec: ClusterSpec, types: Mapping[str, MachineType]
) -> tuple[dict[str, int], dict[str, int]]:
    """Threads wanted as spot and on demand, by type; of the workers' types the largest."""
    largest = max((types[kind] for kind in settings.worker_types), key=lambda kind: kind.vcpus)
    base = settings.on_demand_base if settings.spot else spec.size
    on_demand = {settings.head_type: types[settings.head_type].vcpus}
    on_demand[largest.name] = on_demand.get(largest.name, 0) + base * largest.vcpus
    return {largest.name: (spec.size - base) * largest.vcpus}, on_demand


def _maker_notes(types: Mapping[str, MachineType]) -> Iterator[str]:
    makers = sorted({kind.maker for kind in types.values()})
    if len(makers) > 1:
        yield (
            f"processors of several makers ({', '.join(makers)}) need not compute alike: workers "
            "that do not are refused, unless the config says mixed_hardware=True"
        )
