"""An image with everything installed: machines that start from it are at work minutes earlier."""

from __future__ import annotations

import secrets as random_secrets
import time
from collections.abc import Callable
from typing import Any

import botocore.exceptions

from cluster.aws.account import require
from cluster.aws.archives import upload_archives, upload_boot
from cluster.aws.image import REQUIREMENTS_TAG
from cluster.aws.launching import Launch, undone_on_error
from cluster.aws.names import ACCOUNT, NAME_TAG, Names, tag_list
from cluster.aws.planning import survey
from cluster.aws.removal import remove_cluster, remove_files
from cluster.aws.session import Aws, code_of
from cluster.aws.settings import AwsSettings
from cluster.aws.templates import Ground
from cluster.aws.user_data import BAKE_KEY
from cluster.provider import Archives, Say
from cluster.spec import ClusterSpec
from errors import ServiceUnavailable

Sleep = Callable[[float], None]

MAX_HOURS = 1.0
"""After which the machine ends itself, whatever has become of whoever bakes."""

_INSTALL_WAIT_S = 2400.0
_IMAGE_WAIT_S = 1800.0
_LOOK_S = 10.0


def bake(
    aws: Aws,
    settings: AwsSettings,
    source: str,
    archives: Archives,
    requirements: str,
    owner: str,
    say: Say,
    sleep: Sleep = time.sleep,
) -> str:
    """Make an image of a machine that has installed everything; the machine is gone afterwards.

    Args:
        aws, settings: where; the image's architecture is that of ``head_type``.
        source: sha256 of the archive with our code, which is among ``archives``.
        requirements: hash of what will be installed, by which launches find the image.
        owner: whose the machine is meanwhile.
        say: is told how it goes.
        sleep: waits between two looks.

    Returns:
        The image's id.

    Raises:
        ServiceUnavailable: the installation failed, or took too long.
    """
    spec = ClusterSpec(
        name="bake",
        uid=random_secrets.token_hex(16),
        owner=owner,
        size=0,
        config=(),
        source=source,
        created_s=time.time(),
        max_hours=MAX_HOURS,
    )
    names = Names(spec.key, spec.owner)
    place, boundary, group = require(aws, settings)
    # What was baked before is no ground to bake on: it may have what is not wanted any more.
    found = survey(aws, settings, spec, requirements="")
    upload_archives(aws, place.bucket, spec, archives, spec.created_s, say)
    boot = upload_boot(aws, place.bucket, spec.created_s, say)
    ground = Ground(found.image, group, boundary, place.bucket, found.subnets, boot)
    launch = Launch(aws, place, settings, spec, ground, say=say, sleep=sleep)
    with undone_on_error(aws, place.bucket, names, say, sleep):
        machine = launch.make_baking_head()
        _wait_until_installed(aws, place.bucket, names, say, sleep)
        image = _make_image(aws, machine, requirements, spec, say, sleep)
    for thing in remove_cluster(aws, spec.key, say, sleep=sleep):
        say(f"is left: {thing}; run `python cluster/manage.py kill {spec.key}`")
    remove_files(aws, place.bucket, names, keep_runs=False)
    return image


def _wait_until_installed(aws: Aws, bucket: str, names: Names, say: Say, sleep: Sleep) -> None:
    say("installing; this takes about ten minutes")
    waited_s = 0.0
    while waited_s < _INSTALL_WAIT_S:
        said = _said(aws, bucket, f"{names.place}/{BAKE_KEY}")
        if said is not None:
            word, _, log = said.partition("\n")
            if word == "baked":
                return
            for line in log.splitlines():
                say(line)
            raise ServiceUnavailable(
                "the machine could not install everything: what it said last is above"
            )
        sleep(_LOOK_S)
        waited_s += _LOOK_S
    raise ServiceUnavailable(
        f"the machine has not said within {_INSTALL_WAIT_S / 60:.0f} minutes that it installed "
        "everything: look at what its subnet can reach (it needs the internet)"
    )


def _said(aws: Aws, bucket: str, key: str) -> str | None:
    try:
        data: bytes = aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except botocore.exceptions.ClientError as error:
        if code_of(error) in ("404", "NoSuchKey"):
            return None
        raise
    return data.decode(errors="replace")


def _make_image(
    aws: Aws, machine: str, requirements: str, spec: ClusterSpec, say: Say, sleep: Sleep
) -> str:
    name = f"{ACCOUNT}-{requirements[:12]}-{spec.uid[:8]}"
    tags = tag_list({NAME_TAG: name, REQUIREMENTS_TAG: requirements})
    made = aws.ec2.create_image(
        InstanceId=machine,
        Name=name,
        Description="walking-es with everything installed",
        # The machine has written everything out, and a reboot would forget when it is to end.
        NoReboot=True,
        TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
    )
    image = str(made["ImageId"])
    say(f"making image {image}; this takes some minutes")
    waited_s = 0.0
    while waited_s < _IMAGE_WAIT_S:
        state = _image_state(aws, image)
        if state == "available":
            return image
        if state == "failed":
            break
        sleep(_LOOK_S)
        waited_s += _LOOK_S
    aws.ec2.deregister_image(ImageId=image)
    raise ServiceUnavailable(f"AWS could not make image {image}: bake again")


def _image_state(aws: Aws, image: str) -> str:
    try:
        found: list[dict[str, Any]] = aws.ec2.describe_images(ImageIds=[image])["Images"]
    except botocore.exceptions.ClientError as error:
        if not code_of(error).startswith("InvalidAMIID"):
            raise
        return "pending"  # made a moment ago, and not known everywhere
    return str(found[0].get("State", "pending")) if found else "pending"
