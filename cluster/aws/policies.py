"""Who may do what, as IAM documents: each a pure function of names.

A machine's role is its cluster's own, one for the head and one for the workers, and gone with the
cluster. An account-wide boundary caps all of them, so that whoever may launch clusters cannot make
a role that is allowed more (`user_policy` lets roles be made only under it).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cluster.aws.names import ACCOUNT, BOUNDARY, CLUSTER_TAG, IAM_PATH, Names, Role

Document = dict[str, Any]
Statement = dict[str, Any]

ARCHIVES = ("boot", "source", "include", "requirements")
"""Folders of the bucket that every cluster's machines may read: all there is named by its hash."""

SECRETS_OF = {"head": "*", "worker": "worker-password"}
"""Which of the cluster's secrets machines of a role may read."""


class Place(NamedTuple):
    """Where policies hold.

    Attributes:
        partition: ``aws``, or what China has instead.
        region, account, bucket: see `cluster.aws.session.Aws`.
    """

    partition: str
    region: str
    account: str
    bucket: str

    def arn(self, service: str, resource: str) -> str:
        """An ARN of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def iam(self, resource: str) -> str:
        """An ARN of IAM, which has no regions."""
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    def s3(self, *keys: str) -> list[str]:
        """ARNs of objects in the bucket."""
        return [f"arn:{self.partition}:s3:::{self.bucket}/{key}" for key in keys]

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def boundary(self) -> str:
        """The policy that caps every machine's role."""
        return self.iam(f"policy{IAM_PATH}{BOUNDARY}")


def trust() -> Document:
    """Only machines of EC2 may take a machine's role."""
    principal = {"Service": "ec2.amazonaws.com"}
    return _document(
        {"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole"], "Resource": None}
    )


def machine_policy(place: Place, names: Names, role: Role) -> Document:
    """What a machine of a cluster may do, and nothing else.

    The head: its cluster's part of the bucket, parameters and log group; end machines and empty
    groups that bear its cluster's tag. A worker: read the four small files that it needs there,
    read its own password, write its log, and leave its group.
    """
    common = [
        _allow(["s3:GetObject"], place.s3(*(f"{folder}/*" for folder in ARCHIVES))),
        _may_list(place, f"{names.place}/*"),
        _allow(
            ["ssm:GetParameter", "ssm:GetParameters"],
            [place.arn("ssm", f"parameter{names.parameter(SECRETS_OF[role])}")],
        ),
        _may_decrypt(place),
        _allow(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [place.arn("logs", f"log-group:{names.log_group}:log-stream:{role}/*")],
        ),
    ]
    own = _head(place, names) if role == "head" else _worker(place, names)
    return _document(*common, *own)


def _head(place: Place, names: Names) -> list[Statement]:
    group = place.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{names.group}")
    return [
        _allow(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            place.s3(f"{names.place}/*"),
        ),
        _allow(_LOOK, ["*"]),
        _allow(
            ["ec2:TerminateInstances"],
            [place.arn("ec2", "instance/*")],
            {"StringEquals": {f"ec2:ResourceTag/{CLUSTER_TAG}": names.key}},
        ),
        _allow(
            [
                "autoscaling:SetDesiredCapacity",
                "autoscaling:UpdateAutoScalingGroup",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
            ],
            [group],
            {"StringEquals": {f"autoscaling:ResourceTag/{CLUSTER_TAG}": names.key}},
        ),
    ]


def _worker(place: Place, names: Names) -> list[Statement]:
    group = place.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{names.group}")
    files = ("spec.json", "head.json", "progress.json", "ended.json")
    return [
        _allow(["s3:GetObject"], place.s3(*(f"{names.place}/{file}" for file in files))),
        _allow(
            ["autoscaling:TerminateInstanceInAutoScalingGroup"],
            [group],
            {"StringEquals": {f"autoscaling:ResourceTag/{CLUSTER_TAG}": names.key}},
        ),
    ]


# What cannot be restricted to a resource, and changes nothing: what there is, and its price.
_LOOK = [
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeSpotPriceHistory",
    "autoscaling:DescribeAutoScalingGroups",
    "pricing:GetProducts",
]


def boundary(place: Place) -> Document:
    """The most that any machine of any cluster may be allowed."""
    tagged = {"StringLike": {f"aws:ResourceTag/{CLUSTER_TAG}": "*"}}
    return _document(
        _allow(["s3:GetObject"], place.s3(*(f"{folder}/*" for folder in ARCHIVES))),
        _may_list(place, "clusters/*"),
        _allow(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            place.s3("clusters/*"),
        ),
        _allow(
            ["ssm:GetParameter", "ssm:GetParameters"],
            [place.arn("ssm", f"parameter/{ACCOUNT}/*")],
        ),
        _may_decrypt(place),
        _allow(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [place.arn("logs", f"log-group:/{ACCOUNT}/*")],
        ),
        _allow(_LOOK, ["*"]),
        _allow(["ec2:TerminateInstances"], [place.arn("ec2", "instance/*")], tagged),
        _allow(
            [
                "autoscaling:SetDesiredCapacity",
                "autoscaling:UpdateAutoScalingGroup",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
            ],
            [place.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{ACCOUNT}-*")],
        ),
    )


def bucket_policy(place: Place) -> Document:
    """Nobody, whatever else they may, speaks with the bucket but by TLS."""
    return _document(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:*"],
            "Resource": [place.bucket_arn, *place.s3("*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def user_policy(place: Place) -> Document:
    """What someone needs to launch, watch and end clusters in an account that is set up."""
    images = [f"arn:{place.partition}:ssm:{place.region}::parameter/aws/service/*"]  # nobody's own
    return _document(
        _allow(_USER_LOOKS, ["*"]),
        _allow(["ssm:GetParameter"], images),
        _allow(["s3:ListBucket", "s3:GetBucketLocation"], [place.bucket_arn]),
        _allow(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            place.s3("*"),
        ),
        _allow(_EC2_MAKES, ["*"]),
        _allow(_EC2_ENDS, ["*"], {"StringLike": {f"aws:ResourceTag/{CLUSTER_TAG}": "*"}}),
        _allow(
            ["autoscaling:*"],
            [place.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{ACCOUNT}-*")],
        ),
        _allow(["ssm:*"], [place.arn("ssm", f"parameter/{ACCOUNT}/*")]),
        _allow(["logs:*"], [place.arn("logs", f"log-group:/{ACCOUNT}/*")]),
        *_user_roles(place),
    )


def _user_roles(place: Place) -> list[Statement]:
    ours = [place.iam(f"role{IAM_PATH}*"), place.iam(f"instance-profile{IAM_PATH}*")]
    under = {"StringEquals": {"iam:PermissionsBoundary": place.boundary}}
    return [
        _allow(["iam:CreateRole", "iam:PutRolePolicy"], ours[:1], under),
        _allow(_ROLES, ours),
        _allow(
            ["iam:PassRole"],
            ours[:1],
            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
    ]


def account_policy(place: Place) -> Document:
    """What someone needs besides for `setup`, `teardown` and `bake`."""
    linked = place.iam("role/aws-service-role/*")
    return _document(
        _allow(["s3:*"], [place.bucket_arn, *place.s3("*")]),
        _allow(_SETS_UP, ["*"]),
        _allow(["iam:*"], [place.boundary]),
        _allow(
            ["iam:CreateServiceLinkedRole"],
            [linked],
            {"StringEquals": {"iam:AWSServiceName": list(SERVICES)}},
        ),
    )


SERVICES = ("spot.amazonaws.com", "autoscaling.amazonaws.com")
"""Services of AWS that need a role of their own in an account before they start machines."""

_USER_LOOKS = [
    "ec2:Describe*",
    "ec2:GetConsoleOutput",
    "autoscaling:Describe*",
    "iam:ListRoles",
    "iam:ListInstanceProfiles",
    "iam:GetPolicy",
    "logs:DescribeLogGroups",
    "pricing:GetProducts",
    "servicequotas:GetServiceQuota",
    "ssm:DescribeParameters",
]
_EC2_MAKES = [
    "ec2:CreateLaunchTemplate",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateTags",
    "ec2:RunInstances",
]
_EC2_ENDS = [
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteVolume",
    "ec2:TerminateInstances",
]
_ROLES = [
    "iam:AddRoleToInstanceProfile",
    "iam:CreateInstanceProfile",
    "iam:DeleteInstanceProfile",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:GetInstanceProfile",
    "iam:GetRole",
    "iam:ListRolePolicies",
    "iam:ListRoleTags",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:TagRole",
]
_SETS_UP = [
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateImage",
    "ec2:CreateSecurityGroup",
    "ec2:CreateTags",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSnapshot",
    "ec2:DeregisterImage",
    "ec2:RevokeSecurityGroupIngress",
]


def _may_decrypt(place: Place) -> Statement:
    """What is in an encrypted parameter, asked for through the parameter store and not else.

    The policy of AWS's own key lets everybody in the account do so, but a role under a boundary is
    held to what that names.
    """
    suffix = ".cn" if place.partition == "aws-cn" else ""
    through = {"kms:ViaService": f"ssm.{place.region}.amazonaws.com{suffix}"}
    return _allow(["kms:Decrypt"], [place.arn("kms", "key/*")], {"StringEquals": through})


def _may_list(place: Place, prefix: str) -> Statement:
    return _allow(["s3:ListBucket"], [place.bucket_arn], {"StringLike": {"s3:prefix": prefix}})


def _allow(
    actions: list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> Statement:
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


def _document(*statements: Statement) -> Document:
    kept = [{k: v for k, v in statement.items() if v is not None} for statement in statements]
    return {"Version": "2012-10-17", "Statement": kept}
