"""Calls that no machine of a cluster may make, whoever has taken it over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError
from moto_server import REGION

_REFUSED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}


def calls(bucket: str, source: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Service, operation and words of each.

    Args:
        bucket: the account's.
        source: key of an archive with code, which all clusters share.
    """
    other = "clusters/other-01234567/runs/1/config.json"
    yield "s3", "put_object", {"Bucket": bucket, "Key": source, "Body": b"other code"}
    yield "s3", "delete_object", {"Bucket": bucket, "Key": source}
    yield "s3", "put_object", {"Bucket": bucket, "Key": other, "Body": b"{}"}
    yield "s3", "get_object", {"Bucket": bucket, "Key": other}
    yield "s3", "delete_bucket_policy", {"Bucket": bucket}
    yield "ec2", "run_instances", {"ImageId": "ami-01234567", "MinCount": 1, "MaxCount": 1}
    yield "ec2", "create_launch_template_version", {"LaunchTemplateName": "any",
                                                    "LaunchTemplateData": {}}  # fmt: skip
    yield "iam", "create_user", {"UserName": "another"}
    yield "iam", "put_role_policy", {"RoleName": "any", "PolicyName": "any", "PolicyDocument": "{}"}
    yield "iam", "create_access_key", {"UserName": "user"}
    yield "ssm", "put_parameter", {"Name": "/walking-es/other/any", "Value": "x", "Type": "String"}
    yield "logs", "delete_log_group", {"logGroupName": "/walking-es/other"}


def not_refused(endpoint: str, keys: dict[str, str], bucket: str, source: str) -> list[str]:
    """Those of them that whoever has these keys may make after all."""
    session = boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], REGION
    )
    found = []
    for service, operation, words in calls(bucket, source):
        try:
            getattr(session.client(service, endpoint_url=endpoint), operation)(**words)
            found.append(f"{service} {operation}")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSED:
                found.append(f"{service} {operation}: {error}")
    return found
