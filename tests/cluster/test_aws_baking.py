"""An image with everything installed: made by a machine that is gone afterwards, and used."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from aws_clusters import SETTINGS, Account
from moto_cloud import UBUNTU, MotoCloud

from cluster.aws.account import tear_down
from cluster.aws.baking import bake
from cluster.aws.image import baked_images
from cluster.aws.provider import requirements_hash
from cluster.aws.user_data import BAKE_KEY
from errors import ServiceUnavailable


def bake_where(account: Account, answer: bytes) -> tuple[str, list[str]]:
    """Bake; the machine, while it is waited for, says ``answer``. The image, and its user data."""
    told: list[str] = []

    def machine_answers(_s: float) -> None:
        for thing in account.things():
            if thing.kind == "instance":
                attribute: dict[str, Any] = account.aws.ec2.describe_instance_attribute(
                    InstanceId=thing.id, Attribute="userData"
                )
                told.append(base64.b64decode(attribute["UserData"]["Value"]).decode())
                account.provider.store(thing.names.key).put(BAKE_KEY, answer)

    image = bake(
        account.aws,
        SETTINGS,
        account.source,
        account.archives,
        requirements_hash(),
        "ada",
        account.said.append,
        machine_answers,
    )
    return image, told


def test_a_baked_image_is_taken_as_long_as_it_fits(cloud: MotoCloud, tmp_path: Path) -> None:
    account = Account(cloud, tmp_path)
    image, told = bake_where(account, b"baked\n")
    assert " bake; then" in told[0]
    assert account.things() == []
    assert account.files() == set()
    assert [found["ImageId"] for found in baked_images(account.aws)] == [image]
    plan = account.provider.plan(account.spec())
    assert any(f"{image}, baked" in line for line in plan.lines)

    key, value = "walking-es:requirements", "of another version"
    account.aws.ec2.create_tags(Resources=[image], Tags=[{"Key": key, "Value": value}])
    plan = account.provider.plan(account.spec())
    assert any(f"{UBUNTU}, Ubuntu 24.04" in line for line in plan.lines)
    tear_down(account.aws, SETTINGS, account.said.append)
    assert baked_images(account.aws) == []


def test_a_failed_installation_is_shown_and_nothing_is_left(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    with pytest.raises(ServiceUnavailable, match="could not install everything"):
        bake_where(account, b"failed\npip said no\n")
    assert "pip said no" in account.said
    assert account.things() == []
    assert account.files() == set()
    assert baked_images(account.aws) == []
