"""Everything of ours that an account has, found by tag and by type; nothing is remembered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import botocore.exceptions

from cluster.aws.names import (
    ACCOUNT,
    CLUSTER_TAG,
    IAM_PATH,
    OWNER_TAG,
    ROLE_TAG,
    Names,
    Role,
    tags_of,
)
from cluster.aws.session import Aws, pages

_ALIVE = ("pending", "running", "shutting-down", "stopping", "stopped")
_NAMED = re.compile(rf"{ACCOUNT}-(?P<key>.+)-(?:head|worker)")
_PATHED = re.compile(rf"/{ACCOUNT}/(?P<key>[^/]+)(?:/.+)?")


class Thing(NamedTuple):
    """One thing that belongs to a cluster.

    Attributes:
        kind: ``instance``, ``auto scaling group``, ``volume``, ...
        id: what AWS calls it.
        names: of the cluster it belongs to.
        found: as AWS describes it.
    """

    kind: str
    id: str
    names: Names
    found: Mapping[str, Any]

    @property
    def state(self) -> str:
        """AWS's word; empty where it has none."""
        state = self.found.get("State") or self.found.get("Status") or ""
        return str(state.get("Name", "") if isinstance(state, dict) else state)

    @property
    def role(self) -> Role:
        """What a machine is there for."""
        tags = tags_of(self.found.get("Tags"))
        return "head" if tags.get(ROLE_TAG) == "head" else "worker"

    def __str__(self) -> str:
        state = f" ({self.state})" if self.state else ""
        return f"{self.kind} {self.id}{state} of cluster {self.names.key}"


def find_everything(aws: Aws, key: str | None = None) -> list[Thing]:
    """What there is of one cluster, or of all; machines that have ended are not."""
    computing = find_computing(aws, key)
    owners = {thing.names.key: thing.names.owner for thing in computing}
    return [
        *computing,
        *_profiles(aws, key, owners),
        *_roles(aws, key, owners),
        *_parameters(aws, key, owners),
        *_log_groups(aws, key, owners),
    ]


def find_computing(aws: Aws, key: str | None = None) -> list[Thing]:
    """The same of what computing is made of: groups, templates, machines, disks, interfaces."""
    return [
        *groups(aws, key),
        *instances(aws, key),
        *_ec2(aws, key, "launch template", "launch_templates", "LaunchTemplateId"),
        *_ec2(aws, key, "volume", "volumes", "VolumeId"),
        *_ec2(aws, key, "network interface", "network_interfaces", "NetworkInterfaceId"),
    ]


def instances(aws: Aws, key: str | None = None, ended: bool = False) -> Iterator[Thing]:
    """Machines; with ``ended`` those too that AWS still remembers, for about an hour."""
    filters = _by_tag(key)
    if not ended:
        filters.append({"Name": "instance-state-name", "Values": list(_ALIVE)})
    for reservation in pages(aws.ec2, "describe_instances", "Reservations", Filters=filters):
        for instance in reservation["Instances"]:
            yield _tagged("instance", instance["InstanceId"], instance)


def groups(aws: Aws, key: str | None = None) -> Iterator[Thing]:
    """Auto scaling groups."""
    listing = ("describe_auto_scaling_groups", "AutoScalingGroups")
    for group in pages(aws.autoscaling, *listing, Filters=_by_tag(key)):
        yield _tagged("auto scaling group", group["AutoScalingGroupName"], group)


def _ec2(aws: Aws, key: str | None, kind: str, listing: str, id_key: str) -> Iterator[Thing]:
    member = "".join(word.capitalize() for word in listing.split("_"))
    for found in pages(aws.ec2, f"describe_{listing}", member, Filters=_by_tag(key)):
        yield _tagged(kind, found[id_key], found)


def _by_tag(key: str | None) -> list[dict[str, Any]]:
    if key is None:
        return [{"Name": "tag-key", "Values": [CLUSTER_TAG]}]
    return [{"Name": f"tag:{CLUSTER_TAG}", "Values": [key]}]


def _tagged(kind: str, thing_id: str, found: dict[str, Any]) -> Thing:
    # Network interfaces alone spell it in another way.
    tags = tags_of(found.get("Tags") or found.get("TagSet"))
    return Thing(kind, thing_id, Names(tags.get(CLUSTER_TAG, ""), tags.get(OWNER_TAG, "")), found)


# What follows cannot be listed by tag: by its name, and its tags are asked for one by one.

_Owners = dict[str, str]


def _profiles(aws: Aws, key: str | None, owners: _Owners) -> Iterator[Thing]:
    listed = pages(aws.iam, "list_instance_profiles", "InstanceProfiles", PathPrefix=IAM_PATH)

    def tags(found: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        name = found["InstanceProfileName"]
        profile = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        return list(profile.get("Tags", ()))

    yield from _named("instance profile", "InstanceProfileName", _NAMED, listed, key, owners, tags)


def _roles(aws: Aws, key: str | None, owners: _Owners) -> Iterator[Thing]:
    listed = pages(aws.iam, "list_roles", "Roles", PathPrefix=IAM_PATH)

    def tags(found: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        return list(pages(aws.iam, "list_role_tags", "Tags", RoleName=found["RoleName"]))

    yield from _named("role", "RoleName", _NAMED, listed, key, owners, tags)


def _parameters(aws: Aws, key: str | None, owners: _Owners) -> Iterator[Thing]:
    path = {"Key": "Path", "Option": "Recursive", "Values": [f"/{ACCOUNT}"]}
    listed = pages(aws.ssm, "describe_parameters", "Parameters", ParameterFilters=[path])

    def tags(found: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        listed = aws.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=found["Name"])
        return list(listed["TagList"])

    yield from _named("parameter", "Name", _PATHED, listed, key, owners, tags)


def _log_groups(aws: Aws, key: str | None, owners: _Owners) -> Iterator[Thing]:
    prefix = f"/{ACCOUNT}/"
    listed = pages(aws.logs, "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)

    def tags(found: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        arn = found["arn"].removesuffix(":*")
        there = aws.logs.list_tags_for_resource(resourceArn=arn)["tags"]
        return [{"Key": name, "Value": value} for name, value in there.items()]

    yield from _named("log group", "logGroupName", _PATHED, listed, key, owners, tags)


def _named(
    kind: str,
    name_key: str,
    pattern: re.Pattern[str],
    listed: Iterable[dict[str, Any]],
    key: str | None,
    owners: _Owners,
    tags: Callable[[Mapping[str, Any]], Sequence[Mapping[str, str]]],
) -> Iterator[Thing]:
    """Those of a cluster's name; ``owners`` is asked first for whose it is, and added to."""
    for found in listed:
        matched = pattern.fullmatch(found[name_key])
        if matched is None or key not in (None, matched["key"]):
            continue
        mine = matched["key"]
        if mine not in owners:
            try:
                owners[mine] = tags_of(tags(found)).get(OWNER_TAG, "")
            except botocore.exceptions.ClientError:
                continue  # it went between the two calls
        yield Thing(kind, found[name_key], Names(mine, owners[mine]), found)
