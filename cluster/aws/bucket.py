"""The account's bucket: private, encrypted, by TLS only, old code expires."""

from __future__ import annotations

import json
from typing import Any

import botocore.exceptions

from cluster.aws.policies import ARCHIVES, Place, bucket_policy
from cluster.aws.session import Aws, code_of, pages
from errors import ConfigError

ARCHIVE_DAYS = 30
"""Days after which an archive expires that no launch has used since; launch puts it there again."""

_DELETED_AT_ONCE = 1000  # S3's limit


def bucket_is_there(aws: Aws, bucket: str) -> bool:
    """Whether the account has it.

    Raises:
        ConfigError: another account has, or the name leads to another region.
    """
    try:
        aws.s3.head_bucket(Bucket=bucket)
    except botocore.exceptions.ClientError as error:
        if code_of(error) in ("404", "NoSuchBucket"):
            return False
        if code_of(error) in ("403", "301", "400"):
            raise ConfigError(
                f"bucket {bucket} exists and is not yours, or is of another region than "
                f"{aws.region}: name another by --bucket_name"
            ) from None
        raise
    return True


def make_bucket(aws: Aws, place: Place) -> None:
    """Make the bucket if it is not there, and put all its settings, whether it was or not."""
    bucket = place.bucket
    if not bucket_is_there(aws, bucket):
        # The oldest region alone must not be named.
        where = {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
        aws.s3.create_bucket(Bucket=bucket, **({} if aws.region == "us-east-1" else where))
    aws.s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"),
            True,
        ),
    )
    aws.s3.put_bucket_ownership_controls(
        Bucket=bucket,
        OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
    )
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    aws.s3.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [default]}
    )
    aws.s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": _lifecycle()}
    )
    aws.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(bucket_policy(place)))


def _lifecycle() -> list[dict[str, Any]]:
    expiring = [
        {
            "ID": f"old-{folder}",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{folder}/"},
            "Expiration": {"Days": ARCHIVE_DAYS},
        }
        for folder in ARCHIVES
    ]
    half = {
        "ID": "half-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    return [*expiring, half]


def empty(aws: Aws, bucket: str, prefix: str = "") -> int:
    """Delete every object whose key begins so; how many there were."""
    count = 0
    batch: list[dict[str, str]] = []

    def delete() -> None:
        if batch:
            aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": list(batch), "Quiet": True})
            batch.clear()

    for entry in pages(aws.s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix):
        batch.append({"Key": entry["Key"]})
        count += 1
        if len(batch) == _DELETED_AT_ONCE:
            delete()
    delete()
    return count
