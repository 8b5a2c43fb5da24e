"""What an account needs once before clusters can be launched in it, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import botocore.exceptions

from cluster.aws.bucket import bucket_is_there, empty, make_bucket
from cluster.aws.image import baked_images, delete_image
from cluster.aws.names import ACCOUNT, BOUNDARY, IAM_PATH, tag_list
from cluster.aws.network import find_network, find_security_group, make_security_group
from cluster.aws.policies import SERVICES, Place, boundary
from cluster.aws.session import Aws, code_of, pages
from cluster.aws.settings import AwsSettings
from errors import ConfigError

Say = Callable[[str], None]

_POLICY_VERSIONS = 5  # IAM keeps no more of one policy


class Step(NamedTuple):
    """One thing of an account.

    Attributes:
        what: for people.
        is_there: asks whether it exists.
        make: makes it, or puts right what differs; harmless when all is well.
        remove: undoes it; None: it stays.
    """

    what: str
    is_there: Callable[[], bool]
    make: Callable[[], object]
    remove: Callable[[], object] | None


def place_of(aws: Aws, settings: AwsSettings) -> Place:
    """The names that policies are about."""
    return Place(aws.partition, aws.region, aws.account_id, aws.bucket(settings))


def set_up(aws: Aws, settings: AwsSettings, say: Say, dry_run: bool = False) -> None:
    """Make what is missing and put right what differs; a second time changes nothing.

    Args:
        say: is told a line for each thing.
        dry_run: only say what would be made.
    """
    for step in _steps(aws, settings):
        there = step.is_there()
        if dry_run:
            say(f"{'is there: ' if there else 'would make: '}{step.what}")
        else:
            step.make()
            say(f"{'is there: ' if there else 'made: '}{step.what}")


def tear_down(aws: Aws, settings: AwsSettings, say: Say, dry_run: bool = False) -> None:
    """Remove what `set_up` made, the runs in the bucket with it, and baked images.

    Raises:
        ConfigError: there are clusters still.
    """
    clusters = sorted(_clusters_left(aws))
    if clusters:
        raise ConfigError(
            f"there are clusters still ({', '.join(clusters)}): end them by "
            "`python cluster/manage.py kill NAME`, other people's with --owner=THEM "
            "(list --everybody shows them)"
        )
    for step in reversed([*_steps(aws, settings), *_images(aws)]):
        if not step.is_there():
            continue
        if step.remove is None:
            say(f"stays: {step.what}")
            continue
        if not dry_run:
            step.remove()
        say(f"{'would remove: ' if dry_run else 'removed: '}{step.what}")


def require(aws: Aws, settings: AwsSettings) -> tuple[Place, str, str]:
    """What a launch needs of the account: its place, its boundary policy, its security group.

    Raises:
        ConfigError: something is missing; it says to set the account up.
    """
    place = place_of(aws, settings)
    network = find_network(aws, settings)
    group = find_security_group(aws, network.vpc)
    missing = [
        what
        for what, there in (
            (f"bucket {place.bucket}", bucket_is_there(aws, place.bucket)),
            (f"policy {BOUNDARY}", _find_policy(aws, place) is not None),
            (f"security group {ACCOUNT} in {network.vpc}", group is not None),
        )
        if not there
    ]
    if missing or group is None:
        raise ConfigError(
            f"the account is not set up in {aws.region} ({', '.join(missing)} missing): run "
            "`python cluster/manage.py setup`, with the same --subnet_ids and --bucket_name"
        )
    return place, place.boundary, str(group["GroupId"])


def _steps(aws: Aws, settings: AwsSettings) -> list[Step]:
    place = place_of(aws, settings)
    network = find_network(aws, settings)
    ssh = f", ssh from {settings.ssh_from}" if settings.ssh_from else ", no ssh"
    return [
        Step(
            f"bucket {place.bucket}: private, encrypted, by TLS only, old code expires",
            lambda: bucket_is_there(aws, place.bucket),
            lambda: make_bucket(aws, place),
            lambda: _remove_bucket(aws, place.bucket),
        ),
        Step(
            f"policy {BOUNDARY}: the most that any machine may be allowed",
            lambda: _find_policy(aws, place) is not None,
            lambda: _put_policy(aws, place),
            lambda: _remove_policy(aws, place),
        ),
        Step(
            f"security group {ACCOUNT} in {network.vpc}: Redis among its own machines{ssh}",
            lambda: find_security_group(aws, network.vpc) is not None,
            lambda: make_security_group(aws, network.vpc, settings.ssh_from),
            lambda: _remove_security_group(aws, network.vpc),
        ),
        *(_service_step(aws, service) for service in SERVICES),
    ]


def _images(aws: Aws) -> Iterator[Step]:
    for image in baked_images(aws):
        yield Step(
            f"image {image['ImageId']} ({image.get('Name', '')}) and its snapshots",
            lambda: True,
            lambda: None,
            lambda image=image: delete_image(aws, image),  # type: ignore[misc]
        )


def _service_step(aws: Aws, service: str) -> Step:
    """A role that AWS itself needs; others may use it too, so that it is never removed."""

    def is_there() -> bool:
        path = f"/aws-service-role/{service}/"
        return any(True for _ in pages(aws.iam, "list_roles", "Roles", PathPrefix=path))

    def make() -> None:
        if not is_there():
            aws.iam.create_service_linked_role(AWSServiceName=service)

    return Step(f"service-linked role for {service}, which is AWS's own", is_there, make, None)


def _remove_bucket(aws: Aws, bucket: str) -> None:
    empty(aws, bucket)
    aws.s3.delete_bucket(Bucket=bucket)


def _find_policy(aws: Aws, place: Place) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = aws.iam.get_policy(PolicyArn=place.boundary)["Policy"]
    except botocore.exceptions.ClientError as error:
        if code_of(error) == "NoSuchEntity":
            return None
        raise
    return found


def _put_policy(aws: Aws, place: Place) -> None:
    document = boundary(place)
    found = _find_policy(aws, place)
    if found is None:
        aws.iam.create_policy(
            PolicyName=BOUNDARY,
            Path=IAM_PATH,
            PolicyDocument=json.dumps(document),
            Description="The most that a machine of walking-es may be allowed",
            Tags=tag_list({"Name": BOUNDARY}),
        )
        return
    version = found["DefaultVersionId"]
    current = aws.iam.get_policy_version(PolicyArn=place.boundary, VersionId=version)
    if current["PolicyVersion"]["Document"] == document:
        return
    for old in _old_versions(aws, place)[_POLICY_VERSIONS - 2 :]:
        aws.iam.delete_policy_version(PolicyArn=place.boundary, VersionId=old)
    aws.iam.create_policy_version(
        PolicyArn=place.boundary, PolicyDocument=json.dumps(document), SetAsDefault=True
    )


def _old_versions(aws: Aws, place: Place) -> list[str]:
    """Those of the policy that are not in force, the newest first."""
    versions = pages(aws.iam, "list_policy_versions", "Versions", PolicyArn=place.boundary)
    old = [v for v in versions if not v["IsDefaultVersion"]]
    return [v["VersionId"] for v in sorted(old, key=lambda v: v["CreateDate"], reverse=True)]


def _remove_policy(aws: Aws, place: Place) -> None:
    for old in _old_versions(aws, place):
        aws.iam.delete_policy_version(PolicyArn=place.boundary, VersionId=old)
    aws.iam.delete_policy(PolicyArn=place.boundary)


def _remove_security_group(aws: Aws, vpc: str) -> None:
    group = find_security_group(aws, vpc)
    if group is not None:
        aws.ec2.delete_security_group(GroupId=group["GroupId"])


def _clusters_left(aws: Aws) -> set[str]:
    """Keys of clusters that have a template, a role or a machine; whoever launched them."""
    from cluster.aws.inventory import find_everything

    return {thing.names.key for thing in find_everything(aws)}
