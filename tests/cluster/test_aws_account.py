"""An account is set up once, the same however often, and is as it was after teardown."""

from __future__ import annotations

import json

import pytest
from moto_cloud import REGION, MotoCloud

from cluster.aws.account import place_of, require, set_up, tear_down
from cluster.aws.bucket import bucket_is_there
from cluster.aws.names import ACCOUNT
from cluster.aws.network import find_network, find_security_group
from cluster.aws.session import Aws, plainly
from cluster.aws.settings import AwsSettings
from errors import ConfigError

SETTINGS = AwsSettings(region=REGION)


def said_by(aws: Aws, *, settings: AwsSettings = SETTINGS, dry_run: bool = False) -> list[str]:
    lines: list[str] = []
    set_up(aws, settings, lines.append, dry_run)
    return lines


def rules(aws: Aws, settings: AwsSettings = SETTINGS) -> set[tuple[int, str]]:
    """(port, who) of everything that the security group lets in."""
    group = find_security_group(aws, find_network(aws, settings).vpc)
    assert group is not None
    return {
        (rule["FromPort"], source.get("GroupId") or source.get("CidrIp"))
        for rule in group["IpPermissions"]
        for source in [*rule["UserIdGroupPairs"], *rule["IpRanges"]]
    }


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    lines = said_by(aws, dry_run=True)
    assert len(lines) == 5
    assert all(line.startswith("would make: ") for line in lines)
    assert not bucket_is_there(aws, place_of(aws, SETTINGS).bucket)
    assert find_security_group(aws, find_network(aws, SETTINGS).vpc) is None


def test_a_second_setup_finds_everything_there(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    assert all(line.startswith("made: ") for line in said_by(aws))
    before = require(aws, SETTINGS)
    assert all(line.startswith("is there: ") for line in said_by(aws))
    assert require(aws, SETTINGS) == before


def test_the_bucket_is_private_encrypted_by_tls_only_and_forgets_old_code(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    said_by(aws)
    bucket = place_of(aws, SETTINGS).bucket
    blocked = aws.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    encryption = aws.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    assert encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = json.loads(aws.s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    lifecycle = aws.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    expiring = {rule["Filter"]["Prefix"] for rule in lifecycle if "Expiration" in rule}
    assert expiring == {"boot/", "source/", "include/", "requirements/"}


def test_redis_is_reached_from_the_group_only_and_ssh_from_who_was_named(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    said_by(aws)
    group = require(aws, SETTINGS)[2]
    assert rules(aws) == {(6379, group)}
    said_by(aws, settings=AwsSettings(ssh_from="203.0.113.7/32"))
    assert rules(aws) == {(6379, group), (22, "203.0.113.7/32")}
    said_by(aws, settings=AwsSettings(ssh_from="198.51.100.0/24"))
    assert rules(aws) == {(6379, group), (22, "198.51.100.0/24")}
    said_by(aws)
    assert rules(aws) == {(6379, group)}


def test_setup_puts_right_what_somebody_changed(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    said_by(aws)
    place, arn, group = require(aws, SETTINGS)
    for number in range(5):  # IAM keeps five versions: the oldest must make room
        statement = {"Effect": "Allow", "Action": f"s{number}:*", "Resource": "*"}
        loose = {"Version": "2012-10-17", "Statement": [statement]}
        if number:
            aws.iam.create_policy_version(
                PolicyArn=arn, PolicyDocument=json.dumps(loose), SetAsDefault=True
            )
    aws.ec2.authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=6379, ToPort=6379, CidrIp="0.0.0.0/0"
    )
    aws.s3.delete_public_access_block(Bucket=place.bucket)
    said_by(aws)
    assert rules(aws) == {(6379, group)}
    aws.s3.get_public_access_block(Bucket=place.bucket)
    version = aws.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found = aws.iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    assert "autoscaling:SetDesiredCapacity" in json.dumps(found["Document"])


def test_teardown_leaves_what_was_there_before(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    said_by(aws)
    place = place_of(aws, SETTINGS)
    cloud.allow_plain_http(aws, place.bucket)
    aws.s3.put_object(Bucket=place.bucket, Key="clusters/oak-01234567/runs/1/x", Body=b"x")
    lines: list[str] = []
    tear_down(aws, SETTINGS, lines.append, dry_run=True)
    assert bucket_is_there(aws, place.bucket)
    tear_down(aws, SETTINGS, lines.append)
    assert not bucket_is_there(aws, place.bucket)
    with pytest.raises(ConfigError, match=r"not set up.*bucket.*policy.*group.*manage.py setup"):
        require(aws, SETTINGS)
    tear_down(aws, SETTINGS, lines.append)


def test_teardown_refuses_while_a_cluster_is_there(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    said_by(aws)
    aws.logs.create_log_group(logGroupName=f"/{ACCOUNT}/oak-01234567", tags={})
    with pytest.raises(ConfigError, match=r"clusters still.*oak-01234567"):
        tear_down(aws, SETTINGS, print)
    assert bucket_is_there(aws, place_of(aws, SETTINGS).bucket)


def test_an_account_without_a_default_network_is_told_what_to_name(cloud: MotoCloud) -> None:
    aws = cloud.aws()
    for subnet in aws.ec2.describe_subnets()["Subnets"]:
        aws.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    with plainly(), pytest.raises(ConfigError, match=r"no default VPC.*--subnet_ids"):
        said_by(aws)
    vpc = aws.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = aws.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    settings = AwsSettings(subnet_ids=(subnet,))
    said_by(aws, settings=settings)
    assert find_security_group(aws, vpc) is not None
    with pytest.raises(ConfigError, match="subnet-01234567 is not in eu-central-1"):
        find_network(aws, AwsSettings(subnet_ids=(subnet, "subnet-01234567")))


def test_nobody_may_open_ssh_to_the_world() -> None:
    with pytest.raises(ConfigError, match="everybody"):
        AwsSettings(ssh_from="0.0.0.0/0")
