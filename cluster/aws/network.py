"""Where an account's machines stand: subnets, and the security group that lets in who belongs."""

from __future__ import annotations

from typing import Any, NamedTuple

from cluster.aws.names import ACCOUNT, NAME_TAG, tag_list
from cluster.aws.session import Aws, pages
from cluster.aws.settings import AwsSettings
from errors import ConfigError

REDIS_PORT = 6379
_SSH_PORT = 22


class Network(NamedTuple):
    """Where machines are put.

    Attributes:
        vpc: its id.
        subnets: ids of one or more in it.
        zones: availability zone of each.
    """

    vpc: str
    subnets: tuple[str, ...]
    zones: tuple[str, ...]


def find_network(aws: Aws, settings: AwsSettings) -> Network:
    """The subnets that the settings name, or the default ones.

    Raises:
        ConfigError: there are none, or they are of several VPCs.
    """
    if settings.subnet_ids:
        named = [{"Name": "subnet-id", "Values": list(settings.subnet_ids)}]
    else:
        named = [{"Name": "default-for-az", "Values": ["true"]}]
    found = sorted(
        pages(aws.ec2, "describe_subnets", "Subnets", Filters=named), key=lambda s: s["SubnetId"]
    )
    missing = set(settings.subnet_ids) - {subnet["SubnetId"] for subnet in found}
    if missing:
        raise ConfigError(
            f"subnet_ids: {', '.join(sorted(missing))} is not in {aws.region} of this account: "
            "check --region and --profile"
        )
    if not found:
        raise ConfigError(
            f"{aws.region} of this account has no default VPC: name subnets by --subnet_ids, or "
            "make one by `aws ec2 create-default-vpc`"
        )
    vpcs = {subnet["VpcId"] for subnet in found}
    if len(vpcs) > 1:
        raise ConfigError(f"subnet_ids are of several VPCs ({', '.join(sorted(vpcs))}): name one's")
    return Network(
        vpcs.pop(),
        tuple(subnet["SubnetId"] for subnet in found),
        tuple(subnet["AvailabilityZone"] for subnet in found),
    )


def find_security_group(aws: Aws, vpc: str) -> dict[str, Any] | None:
    """Ours in that VPC, as AWS describes it."""
    filters = [
        {"Name": "group-name", "Values": [ACCOUNT]},
        {"Name": "vpc-id", "Values": [vpc]},
    ]
    found = list(pages(aws.ec2, "describe_security_groups", "SecurityGroups", Filters=filters))
    return found[0] if found else None


def make_security_group(aws: Aws, vpc: str, ssh_from: str | None) -> str:
    """Have ours in that VPC, with exactly the rules it should have; its id.

    Machines of the group reach each other at Redis's port; ``ssh_from`` may come by ssh; nobody
    else comes in.
    """
    group = find_security_group(aws, vpc)
    if group is None:
        made = aws.ec2.create_security_group(
            GroupName=ACCOUNT,
            Description="Machines of walking-es: Redis among themselves, nothing from outside",
            VpcId=vpc,
            TagSpecifications=[
                {"ResourceType": "security-group", "Tags": tag_list({NAME_TAG: ACCOUNT})}
            ],
        )
        group = {"GroupId": made["GroupId"], "IpPermissions": []}
    group_id = str(group["GroupId"])
    wanted = _rules(group_id, ssh_from)
    there = {_short(rule): rule for rule in _single(group["IpPermissions"])}
    if extra := [rule for short, rule in there.items() if short not in wanted]:
        aws.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=extra)
    if missing := [rule for short, rule in wanted.items() if short not in there]:
        aws.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=missing)
    return group_id


_Short = tuple[Any, Any, str]


def _rules(group_id: str, ssh_from: str | None) -> dict[_Short, dict[str, Any]]:
    redis = _rule(REDIS_PORT) | {"UserIdGroupPairs": [{"GroupId": group_id}]}
    rules = [redis]
    if ssh_from is not None:
        key, name = ("Ipv6Ranges", "CidrIpv6") if ":" in ssh_from else ("IpRanges", "CidrIp")
        rules.append(_rule(_SSH_PORT) | {key: [{name: ssh_from}]})
    return {_short(rule): rule for rule in rules}


def _rule(port: int) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}


def _single(permissions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules that let in one source each; AWS lists those of a port together."""
    kinds = ("UserIdGroupPairs", "IpRanges", "Ipv6Ranges", "PrefixListIds")
    return [
        {k: v for k, v in rule.items() if k not in kinds} | {kind: [source]}
        for rule in permissions
        for kind in kinds
        for source in rule.get(kind, ())
    ]


def _short(rule: dict[str, Any]) -> _Short:
    """What tells one rule from another."""
    sources = [
        source.get("GroupId") or source.get("CidrIp") or source.get("CidrIpv6") or str(source)
        for kind in ("UserIdGroupPairs", "IpRanges", "Ipv6Ranges", "PrefixListIds")
        for source in rule.get(kind, ())
    ]
    return rule.get("FromPort"), rule.get("ToPort"), sources[0]
