"""The launch templates that a cluster's machines are made from."""

from __future__ import annotations

from typing import Any, NamedTuple

from cluster.aws.image import Image
from cluster.aws.names import DISK_TAG, Names, Role, tag_list
from cluster.aws.network import REDIS_PORT
from cluster.aws.settings import AwsSettings
from cluster.aws.user_data import bake_user_data, encoded, user_data
from cluster.machine.platform import MachineSettings
from cluster.spec import ClusterSpec

WORK_DIR = "/var/lib/walking-es"


class Ground(NamedTuple):
    """What a launch has found out before it makes anything.

    Attributes:
        image: that all machines start from.
        security_group, boundary, bucket: of the account.
        subnets: where machines may stand, the head in the first that has room.
        boot: sha256 of the boot script.
    """

    image: Image
    security_group: str
    boundary: str
    bucket: str
    subnets: tuple[str, ...]
    boot: str


def machine_settings(spec: ClusterSpec, role: Role, bucket: str, region: str) -> MachineSettings:
    """What a machine of a cluster is told of itself."""
    names = Names(spec.key, spec.owner)
    return MachineSettings(
        provider="aws",
        role=role,
        key=spec.key,
        store=f"s3://{bucket}/{names.place}",
        region=region,
        group=names.group,
        log_group=names.log_group,
        work_dir=WORK_DIR,
        redis_port=REDIS_PORT,
    )


def template_data(
    spec: ClusterSpec,
    role: Role,
    settings: AwsSettings,
    ground: Ground,
    region: str,
    *,
    bakes: bool = False,
) -> dict[str, Any]:
    """A launch template's content: as private as a machine can be, and ended when it shuts down.

    ``bakes``: the machine is to become an image.

    Raises:
        ConfigError: the user data is too long.
    """
    names = Names(spec.key, spec.owner)
    script = (bake_user_data if bakes else user_data)(
        machine_settings(spec, role, ground.bucket, region), ground.boot, spec.ends_s
    )
    tags = tag_list(names.tags(role) | {DISK_TAG: str(settings.volume_gb)})
    disk = {
        "VolumeSize": settings.volume_gb,
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    data: dict[str, Any] = {
        "ImageId": ground.image.image_id,
        "InstanceType": settings.head_type if role == "head" else settings.worker_types[0],
        "IamInstanceProfile": {"Name": names.of(role)},
        "SecurityGroupIds": [ground.security_group],
        "BlockDeviceMappings": [{"DeviceName": ground.image.root, "Ebs": disk}],
        "InstanceInitiatedShutdownBehavior": "terminate",
        # IMDSv2 only, and one hop: nothing that is forwarded on the machine reaches its role.
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
        },
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags}
            for kind in ("instance", "volume", "network-interface")
        ],
        "UserData": encoded(script),
    }
    return data | ({"KeyName": settings.key_name} if settings.key_name else {})


def workers_policy(settings: AwsSettings, template: str, version: str) -> dict[str, Any]:
    """A group's mixed instances: of which types, and how many of them at which price."""
    distribution: dict[str, Any] = {
        "OnDemandBaseCapacity": settings.on_demand_base,
        "OnDemandPercentageAboveBaseCapacity": 0 if settings.spot else 100,
        "OnDemandAllocationStrategy": "lowest-price",
        "SpotAllocationStrategy": "price-capacity-optimized",
    }
    if settings.max_price is not None:
        distribution["SpotMaxPrice"] = f"{settings.max_price:.4f}"
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": version},
            "Overrides": [{"InstanceType": kind} for kind in settings.worker_types],
        },
        "InstancesDistribution": distribution,
    }
