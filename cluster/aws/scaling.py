"""How many worker machines a cluster has, of which types, at which price."""

from __future__ import annotations

from typing import Any

import msgspec

from cluster.aws.machine_types import describe_types, one_architecture
from cluster.aws.session import Aws
from errors import ConfigError


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different; None: as it was.

    Attributes:
        price: USD an hour that a spot machine may cost; 0.0: the on-demand price.
        min_size, max_size, desired_size: of the group.
        worker_types: instance types.
        spot: whether machines above the base are.
        on_demand_base: how many never are.
    """

    price: float | None = None
    min_size: int | None = None
    max_size: int | None = None
    desired_size: int | None = None
    worker_types: tuple[str, ...] | None = None
    spot: bool | None = None
    on_demand_base: int | None = None


def set_size(aws: Aws, group: dict[str, Any], size: int) -> None:
    """Have so many machines; those too many are ended, their work goes to others."""
    sizes = {"MinSize": min(group["MinSize"], size), "MaxSize": size, "DesiredCapacity": size}
    policy = group["MixedInstancesPolicy"]
    types = tuple(o["InstanceType"] for o in policy["LaunchTemplate"]["Overrides"])
    _update(aws, group, sizes, policy["InstancesDistribution"], types)


def change_group(aws: Aws, group: dict[str, Any], change: Change) -> list[str]:
    """Apply a change, in one call. The launch template, user data and all, stays as it is: a group
    says itself of which types and at which price its machines are.

    Returns:
        What is then in force, for people.

    Raises:
        ConfigError: sizes that are out of order, types that do not exist or fit the image.
    """
    sizes = _sizes(group, change)
    policy = group["MixedInstancesPolicy"]
    distribution = _distribution(policy["InstancesDistribution"], change)
    types = tuple(o["InstanceType"] for o in policy["LaunchTemplate"]["Overrides"])
    if change.worker_types is not None:
        described = describe_types(aws, {*types, *change.worker_types})
        one_architecture(list(described.values()))
        types = change.worker_types
    _update(aws, group, sizes, distribution, types)
    return _in_force(sizes, distribution, types)


def _update(
    aws: Aws,
    group: dict[str, Any],
    sizes: dict[str, int],
    distribution: dict[str, Any],
    types: tuple[str, ...],
) -> None:
    launch = group["MixedInstancesPolicy"]["LaunchTemplate"]
    specification = dict(launch["LaunchTemplateSpecification"])
    # AWS tells a template's id and name, and takes one of them.
    specification.pop("LaunchTemplateId", None)
    aws.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=group["AutoScalingGroupName"],
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": specification,
                "Overrides": [{"InstanceType": kind} for kind in types],
            },
            "InstancesDistribution": distribution,
        },
        **sizes,
    )


def _sizes(group: dict[str, Any], change: Change) -> dict[str, int]:
    least = group["MinSize"] if change.min_size is None else change.min_size
    wanted = group["DesiredCapacity"] if change.desired_size is None else change.desired_size
    most = group["MaxSize"] if change.max_size is None else change.max_size
    if change.max_size is None:
        most = max(most, wanted if change.desired_size is not None else most, least)
    if change.desired_size is None:
        wanted = min(max(wanted, least), most)
    if not 0 <= least <= wanted <= most:
        raise ConfigError(
            f"min_size={least}, desired_size={wanted}, max_size={most}: expected them in this "
            "order, from 0 on"
        )
    return {"MinSize": least, "MaxSize": most, "DesiredCapacity": wanted}


def _distribution(current: dict[str, Any], change: Change) -> dict[str, Any]:
    new = dict(current)
    if change.price is not None:
        if change.price < 0:
            raise ConfigError(f"price={change.price}: expected dollars an hour, or 0 for no limit")
        # AWS takes an empty text for the on-demand price.
        new["SpotMaxPrice"] = f"{change.price:.4f}" if change.price else ""
    if change.spot is not None:
        new["OnDemandPercentageAboveBaseCapacity"] = 0 if change.spot else 100
    if change.on_demand_base is not None:
        new["OnDemandBaseCapacity"] = change.on_demand_base
    return new


def _in_force(
    sizes: dict[str, int], distribution: dict[str, Any], types: tuple[str, ...]
) -> list[str]:
    spot = distribution["OnDemandPercentageAboveBaseCapacity"] == 0
    limit = distribution.get("SpotMaxPrice")
    price = f" for at most {limit} USD an hour" if limit else " for at most the on-demand price"
    base = distribution["OnDemandBaseCapacity"]
    return [
        f"{sizes['DesiredCapacity']} worker machines, {sizes['MinSize']} to {sizes['MaxSize']}",
        f"of {', '.join(types)}",
        f"as spot{price}, the first {base} on demand" if spot else "on demand",
        "machines that run already stay as they are",
    ]
