"""What there is of a cluster in an account, asked of AWS kind by kind, not of our own commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto_server import Moto

_ENDED = {"terminated", "deleting", "deleted"}


def left_of(moto: Moto, name: str) -> list[str]:
    """Everything that bears a cluster's name or tag, a line each; a killed one's runs are not."""
    return [line for line in everything(moto) if f"{name}-" in line]


def everything(moto: Moto) -> list[str]:
    """All that somebody may have made in the account, tags included."""
    return [*_computing(moto), *_beside(moto)]


def _computing(moto: Moto) -> Iterator[str]:
    ec2, autoscaling = moto.client("ec2"), moto.client("autoscaling")
    for reservation in _pages(ec2, "describe_instances", "Reservations"):
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] not in _ENDED:
                yield _line("instance", instance["InstanceId"], instance)
    for volume in _pages(ec2, "describe_volumes", "Volumes"):
        yield _line("volume", volume["VolumeId"], volume)
    for interface in _pages(ec2, "describe_network_interfaces", "NetworkInterfaces"):
        yield _line("interface", interface["NetworkInterfaceId"], interface)
    for template in _pages(ec2, "describe_launch_templates", "LaunchTemplates"):
        yield _line("launch template", template["LaunchTemplateName"], template)
    for request in _pages(ec2, "describe_spot_instance_requests", "SpotInstanceRequests"):
        yield _line("spot request", request["SpotInstanceRequestId"], request)
    for key in _pages(ec2, "describe_security_groups", "SecurityGroups"):
        yield _line("security group", key["GroupName"], key)
    for group in _pages(autoscaling, "describe_auto_scaling_groups", "AutoScalingGroups"):
        yield _line("group", group["AutoScalingGroupName"], group)


def _beside(moto: Moto) -> Iterator[str]:
    iam, logs, ssm = moto.client("iam"), moto.client("logs"), moto.client("ssm")
    for role in _pages(iam, "list_roles", "Roles"):
        yield _line("role", role["RoleName"], {})
    for profile in _pages(iam, "list_instance_profiles", "InstanceProfiles"):
        yield _line("instance profile", profile["InstanceProfileName"], {})
    for policy in _pages(iam, "list_policies", "Policies", Scope="Local"):
        yield _line("policy", policy["PolicyName"], {})
    for group in _pages(logs, "describe_log_groups", "logGroups"):
        yield _line("log group", group["logGroupName"], {})
    for parameter in _pages(ssm, "describe_parameters", "Parameters"):
        yield _line("parameter", parameter["Name"], {})


def _pages(client: Any, call: str, key: str, **words: Any) -> Iterator[Any]:
    for page in client.get_paginator(call).paginate(**words):
        yield from page[key]


def _line(kind: str, name: str, thing: dict[str, Any]) -> str:
    tags = thing.get("Tags") or thing.get("TagSet") or []
    return f"{kind} {name} {json.dumps(tags)}"
