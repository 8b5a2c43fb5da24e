"""The end of a cluster, in whatever state it is: everything of it is removed, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

import botocore.exceptions

from cluster.aws.bucket import empty
from cluster.aws.inventory import Thing, find_everything
from cluster.aws.names import Names
from cluster.aws.session import Aws, code_of, pages

Say = Callable[[str], None]
Sleep = Callable[[float], None]

WAIT_S = 900.0
"""How long an end is waited for; machines of EC2 take one to three minutes."""

_LOOK_S = 5.0

# First what makes new machines, then the machines, and last what they were made from.
_ORDER = (
    "auto scaling group",
    "instance",
    "launch template",
    "parameter",
    "log group",
    "instance profile",
    "role",
    "network interface",
    "volume",
)

# A machine that is told to end brings its last checkpoint to the bucket, and its last words to the
# log, which it may not without its role; and its disk and interface go a little after it by
# themselves: only what is left over is ours to remove.
_AFTER_MACHINES = {
    "network interface",
    "volume",
    "parameter",
    "log group",
    "instance profile",
    "role",
}

_GONE = {
    "NoSuchEntity",
    "NoSuchBucket",
    "ParameterNotFound",
    "ResourceNotFoundException",
    "InvalidInstanceID.NotFound",
    "InvalidVolume.NotFound",
    "InvalidNetworkInterfaceID.NotFound",
    "InvalidLaunchTemplateId.NotFound",
    "InvalidLaunchTemplateName.NotFoundException",
}

# The next look may find that they can be removed: AWS is not done with what they hang on.
_LATER = {
    "ResourceInUse",
    "ResourceInUseFault",
    "ResourceContention",
    "ScalingActivityInProgress",
    "DeleteConflict",
    "VolumeInUse",
    "InvalidNetworkInterface.InUse",
    "InvalidParameterValue",
    "IncorrectState",
    "IncorrectInstanceState",
    "ConcurrentModification",
    "OperationAbortedException",
}


def remove_cluster(
    aws: Aws,
    key: str,
    say: Say,
    *,
    wait_s: float = WAIT_S,
    looks: int = 1,
    sleep: Sleep = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[Thing]:
    """Remove everything of a cluster but its files in the bucket; what is left after ``wait_s``.

    What one call is refused is tried again at each look, so that an end that was cut off can be
    made again, and again.

    Args:
        say: is told of each thing once.
        wait_s: seconds to wait for what AWS takes its time with.
        looks: how often nothing must be found, some seconds apart: a machine that was started a
            moment ago may not be shown yet.

    Raises:
        botocore.exceptions.ClientError: AWS refuses for a reason that waiting does not help; all
            else was removed first.
    """
    deadline = clock() + wait_s
    asked: set[str] = set()
    before: list[str] | None = None
    while True:
        left = find_everything(aws, key)
        refused = _remove_once(aws, left, asked, say)
        if refused is not None:
            raise refused
        looks = looks if left else looks - 1
        if looks <= 0 or clock() >= deadline:
            return left
        if before == (before := [str(thing) for thing in left]):
            sleep(_LOOK_S)


def _remove_once(
    aws: Aws, left: list[Thing], asked: set[str], say: Say
) -> botocore.exceptions.ClientError | None:
    machines = any(thing.kind == "instance" for thing in left)
    refused = None
    for thing in sorted(left, key=lambda thing: _ORDER.index(thing.kind)):
        if (thing.kind in _AFTER_MACHINES and machines) or thing.state == "shutting-down":
            continue
        try:
            _remove(aws, thing)
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in _GONE | _LATER and not _is_gone(error):
                refused = error
        if thing.id not in asked:
            say(f"ending {thing.kind} {thing.id}")
            asked.add(thing.id)
    return refused


def _is_gone(error: botocore.exceptions.ClientError) -> bool:
    """Auto scaling says it by a general code, and words."""
    said = str(error.response.get("Error", {}).get("Message", ""))
    said = said.lower()
    return code_of(error) == "ValidationError" and ("not found" in said or "pending delete" in said)


def _remove(aws: Aws, thing: Thing) -> None:
    match thing.kind:
        case "auto scaling group":
            aws.autoscaling.delete_auto_scaling_group(
                AutoScalingGroupName=thing.id, ForceDelete=True
            )
        case "instance":
            aws.ec2.terminate_instances(InstanceIds=[thing.id])
        case "launch template":
            aws.ec2.delete_launch_template(LaunchTemplateId=thing.id)
        case "parameter":
            aws.ssm.delete_parameter(Name=thing.id)
        case "log group":
            aws.logs.delete_log_group(logGroupName=thing.id)
        case "instance profile":
            _remove_profile(aws, thing.id)
        case "role":
            _remove_role(aws, thing.id)
        case "network interface":
            aws.ec2.delete_network_interface(NetworkInterfaceId=thing.id)
        case "volume":
            aws.ec2.delete_volume(VolumeId=thing.id)
        case _:
            raise AssertionError(thing.kind)


def _remove_profile(aws: Aws, name: str) -> None:
    profile = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    for role in profile["Roles"]:
        aws.iam.remove_role_from_instance_profile(
            InstanceProfileName=name, RoleName=role["RoleName"]
        )
    aws.iam.delete_instance_profile(InstanceProfileName=name)


def _remove_role(aws: Aws, name: str) -> None:
    for policy in pages(aws.iam, "list_role_policies", "PolicyNames", RoleName=name):
        aws.iam.delete_role_policy(RoleName=name, PolicyName=policy)
    aws.iam.delete_role(RoleName=name)


def remove_files(aws: Aws, bucket: str, names: Names, *, keep_runs: bool) -> None:
    """Remove a cluster's files; with ``keep_runs`` none of a cluster that has a run to fetch."""
    place = f"{names.place}/"
    if keep_runs:
        runs = aws.s3.list_objects_v2(Bucket=bucket, Prefix=f"{place}runs/", MaxKeys=1)
        if runs.get("Contents"):
            return
    empty(aws, bucket, place)
