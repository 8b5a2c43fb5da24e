"""Which image machines start from: one of ours with everything installed, else plain Ubuntu."""

from __future__ import annotations

from typing import Any, NamedTuple

import botocore.exceptions

from cluster.aws.session import Aws, code_of, pages
from errors import ConfigError

REQUIREMENTS_TAG = "walking-es:requirements"
"""On an image: the hash of the requirements that it has installed."""

_UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"
_CANONICAL_NAMES = {"x86_64": "amd64", "arm64": "arm64"}


class Image(NamedTuple):
    """What machines start from.

    Attributes:
        image_id: ``ami-...``.
        root: its root device, which is where our volume size goes.
        why: for people.
        baked: whether everything is installed on it.
    """

    image_id: str
    root: str
    why: str
    baked: bool = False


def choose_image(
    aws: Aws, architecture: str, requirements: str, image_id: str | None = None
) -> Image:
    """The image for machines of an architecture.

    Args:
        architecture: ``x86_64`` or ``arm64``.
        requirements: hash of what is to be installed; a baked image must have the same.
        image_id: the user's choice, which is taken as it is.

    Raises:
        ConfigError: there is no such image here, or it is for other processors.
    """
    if image_id is not None:
        return _described(aws, image_id, architecture, "as the settings say")
    fitting = [
        image
        for image in baked_images(aws)
        if image.get("Architecture") == architecture
        and {"Key": REQUIREMENTS_TAG, "Value": requirements} in image.get("Tags", ())
    ]
    if fitting:
        newest = max(fitting, key=lambda image: image["CreationDate"])
        root = str(newest.get("RootDeviceName") or "/dev/sda1")
        return Image(newest["ImageId"], root, "baked, everything is installed", baked=True)
    name = _UBUNTU.format(_CANONICAL_NAMES[architecture])
    try:
        found = str(aws.ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except botocore.exceptions.ClientError as error:
        if code_of(error) != "ParameterNotFound":
            raise
        raise ConfigError(
            f"{aws.region} does not say which image of Ubuntu 24.04 it has: name one by --image_id"
        ) from None
    # Canonical's images have had this root device since they are on EBS.
    return Image(found, "/dev/sda1", "Ubuntu 24.04, which installs everything as it boots")


def baked_images(aws: Aws) -> list[dict[str, Any]]:
    """Images that `manage.py bake` has made in this account and region."""
    return [
        image
        for image in pages(
            aws.ec2,
            "describe_images",
            "Images",
            Owners=["self"],
            Filters=[{"Name": "tag-key", "Values": [REQUIREMENTS_TAG]}],
        )
        if image.get("State", "available") == "available"
    ]


def delete_image(aws: Aws, image: dict[str, Any]) -> None:
    """Remove an image, and the snapshots that it is made of."""
    aws.ec2.deregister_image(ImageId=image["ImageId"])
    for device in image.get("BlockDeviceMappings", ()):
        snapshot = device.get("Ebs", {}).get("SnapshotId")
        if snapshot is None:
            continue
        try:
            aws.ec2.delete_snapshot(SnapshotId=snapshot)
        except botocore.exceptions.ClientError as error:
            if code_of(error) != "InvalidSnapshot.NotFound":
                raise


def _described(aws: Aws, image_id: str, architecture: str, why: str) -> Image:
    try:
        images = aws.ec2.describe_images(ImageIds=[image_id])["Images"]
    except botocore.exceptions.ClientError as error:
        if not code_of(error).startswith("InvalidAMIID"):
            raise
        images = []
    if not images:
        raise ConfigError(f"image_id={image_id}: {aws.region} has no such image for this account")
    if images[0].get("Architecture", architecture) != architecture:
        raise ConfigError(
            f"image_id={image_id} is for {images[0]['Architecture']} and the instance types are "
            f"{architecture}: name others by --worker_type and --head_type, or another image"
        )
    return Image(image_id, str(images[0].get("RootDeviceName") or "/dev/sda1"), why)
