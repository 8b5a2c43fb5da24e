"""A machine may do what its part needs, with what is its cluster's, and nothing else."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest

from cluster.aws.names import Names
from cluster.aws.policies import (
    Document,
    Place,
    account_policy,
    boundary,
    bucket_policy,
    machine_policy,
    trust,
    user_policy,
)

PLACE = Place("aws", "eu-central-1", "123456789012", "walking-es-bucket")
OAK = Names("oak-01234567", "ada")
ELM = Names("elm-89abcdef", "bob")
MOST_BYTES = {"managed": 6144, "role": 10_240}
"""IAM's limits, without spaces."""


def allows(document: Document, action: str, resource: str, **facts: str) -> bool:
    """Whether IAM would: its rules for Allow, in short. ``facts`` are the request's, by the last
    part of their name.
    """
    return any(
        any(fnmatch.fnmatchcase(action, pattern) for pattern in statement["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        and all(
            name.rpartition("/")[2] in facts
            and fnmatch.fnmatchcase(facts[name.rpartition("/")[2]], value)
            for test in statement.get("Condition", {}).values()
            for name, value in test.items()
            if isinstance(value, str)
        )
        for statement in document["Statement"]
    )


def s3(key: str) -> str:
    return PLACE.s3(key)[0]


GROUP = "autoScalingGroup:0123:autoScalingGroupName/"
TAG = "walking-es:cluster"


def requests(names: Names) -> dict[str, tuple[str, str, dict[str, str]]]:
    """What could be asked for of a cluster, by a word for it."""
    place, tagged = names.place, {TAG: names.key}
    parameter = f"parameter/walking-es/{names.key}/"
    logs = f"log-group:/walking-es/{names.key}:log-stream:"
    return {
        "spec": ("s3:GetObject", s3(f"{place}/spec.json"), {}),
        "run": ("s3:GetObject", s3(f"{place}/runs/1/metrics.json"), {}),
        "write": ("s3:PutObject", s3(f"{place}/head.json"), {}),
        "remove": ("s3:DeleteObject", s3(f"{place}/runs/1/x"), {}),
        "list": ("s3:ListBucket", PLACE.bucket_arn, {"s3:prefix": f"{place}/runs/"}),
        "head password": (
            "ssm:GetParameter",
            PLACE.arn("ssm", f"{parameter}redis-password"),
            {},
        ),
        "password": ("ssm:GetParameter", PLACE.arn("ssm", f"{parameter}worker-password"), {}),
        "head log": ("logs:PutLogEvents", PLACE.arn("logs", f"{logs}head/i-1"), {}),
        "worker log": ("logs:PutLogEvents", PLACE.arn("logs", f"{logs}worker/i-1"), {}),
        "terminate": ("ec2:TerminateInstances", PLACE.arn("ec2", "instance/i-1"), tagged),
        "empty": (
            "autoscaling:UpdateAutoScalingGroup",
            PLACE.arn("autoscaling", GROUP + names.group),
            tagged,
        ),
        "leave": (
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            PLACE.arn("autoscaling", GROUP + names.group),
            tagged,
        ),
    }


MAY: dict[Any, set[str]] = {
    "head": {*requests(OAK)} - {"worker log"},
    "worker": {"spec", "list", "password", "worker log", "leave"},
}


@pytest.mark.parametrize("role", ["head", "worker"])
def test_a_machine_may_do_its_part_and_with_its_own_cluster_only(role: Any) -> None:
    policy = machine_policy(PLACE, OAK, role)
    assert {
        word for word, asked in requests(OAK).items() if allows(policy, *asked[:2], **asked[2])
    } == (MAY[role])
    of_another = requests(ELM)
    assert not [
        word for word, asked in of_another.items() if allows(policy, *asked[:2], **asked[2])
    ]


@pytest.mark.parametrize("role", ["head", "worker"])
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:PutObject", s3("source/0.tar.gz")),
        ("s3:PutObject", s3("boot/0.sh")),
        ("s3:DeleteBucket", PLACE.bucket_arn),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/x"),
        ("ec2:RunInstances", PLACE.arn("ec2", "instance/*")),
        ("ec2:CreateTags", PLACE.arn("ec2", "instance/i-1")),
        ("ec2:TerminateInstances", PLACE.arn("ec2", "instance/i-1")),
        ("iam:PassRole", PLACE.iam("role/walking-es/x")),
        ("ssm:PutParameter", PLACE.arn("ssm", "parameter/walking-es/oak-01234567/x")),
        ("ssm:SendCommand", PLACE.arn("ssm", "instance/i-1")),
        ("logs:GetLogEvents", PLACE.arn("logs", "log-group:/walking-es/oak-01234567")),
        ("sts:AssumeRole", PLACE.iam("role/admin")),
    ],
)
def test_no_machine_may_change_code_make_machines_or_gain_rights(
    role: Any, action: str, resource: str
) -> None:
    assert not allows(machine_policy(PLACE, OAK, role), action, resource)
    assert not allows(boundary(PLACE), action, resource)


@pytest.mark.parametrize("role", ["head", "worker"])
def test_the_boundary_takes_nothing_from_a_machine_that_its_role_gives(role: Any) -> None:
    policy = machine_policy(PLACE, OAK, role)
    for asked in requests(OAK).values():
        if allows(policy, *asked[:2], **asked[2]):
            assert allows(boundary(PLACE), *asked[:2], **asked[2]), asked


def test_whoever_launches_makes_roles_under_the_boundary_only() -> None:
    role = PLACE.iam("role/walking-es/walking-es-oak-01234567-head")
    policy = user_policy(PLACE)
    under = {"iam:PermissionsBoundary": PLACE.boundary}
    for action in ("iam:CreateRole", "iam:PutRolePolicy"):
        assert allows(policy, action, role, **under)
        assert not allows(policy, action, role)
        assert not allows(policy, action, PLACE.iam("role/admin"), **under)
    assert not allows(policy, "iam:PassRole", PLACE.iam("role/admin"))
    assert not allows(policy, "iam:AttachRolePolicy", role)
    assert not allows(policy, "iam:CreatePolicyVersion", PLACE.boundary)
    assert not allows(policy, "ec2:TerminateInstances", PLACE.arn("ec2", "instance/i-1"))
    assert allows(account_policy(PLACE), "iam:CreatePolicyVersion", PLACE.boundary)


def test_documents_are_within_iams_limits() -> None:
    def size(document: Document) -> int:
        return len(json.dumps(document, separators=(",", ":")))

    longest = Names("a" * 32 + "-01234567", "o" * 128)
    for role in ("head", "worker"):
        assert size(machine_policy(PLACE, longest, role)) < MOST_BYTES["role"]  # type: ignore[arg-type]
    for document in (boundary(PLACE), user_policy(PLACE), account_policy(PLACE)):
        assert size(document) < MOST_BYTES["managed"]
    assert trust()["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert "Resource" not in trust()["Statement"][0]
    (deny,) = bucket_policy(PLACE)["Statement"]
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert len(longest.of("worker")) <= 64  # IAM's limit for a role's name
