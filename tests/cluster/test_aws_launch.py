"""A launch makes all of a cluster, privately; or, wherever it is cut off, nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aws_clusters import SETTINGS, Account, kinds, user_data_of
from moto_cloud import UBUNTU, MotoCloud

from cluster.aws.names import Names
from cluster.machine.platform import MachineSettings
from cluster.spec import SPEC_KEY, read_spec
from errors import ConfigError


@pytest.fixture
def account(cloud: MotoCloud, tmp_path: Path) -> Account:
    return Account(cloud, tmp_path)


def template_of(account: Account, name: str) -> dict[str, Any]:
    versions = account.aws.ec2.describe_launch_template_versions(
        LaunchTemplateName=name, Versions=["$Latest"]
    )
    data: dict[str, Any] = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    return data


def test_a_launch_makes_a_head_and_a_group_of_workers(account: Account) -> None:
    spec = account.launch()
    found = kinds(account.things(spec.key))
    assert found.pop("network interface", 0) >= 0  # moto does not tag them
    assert found.pop("volume", 3) == 3
    assert found == {
        "auto scaling group": 1,
        "instance": 3,
        "launch template": 2,
        "parameter": 3,
        "log group": 1,
        "role": 2,
        "instance profile": 2,
    }
    assert {thing.names for thing in account.things()} == {Names(spec.key, "ada")}
    state = account.provider.cluster("oak", "ada")
    assert [machine.role for machine in state.machines] == ["head", "worker", "worker"]
    assert state.state == "starting"
    assert state.spec == spec
    assert read_spec(account.provider.store(spec.key).get(SPEC_KEY) or b"") == spec


def test_every_machine_is_private_and_ends_for_good_when_it_is_shut_down(account: Account) -> None:
    spec = account.launch()
    names = Names(spec.key, "ada")
    for role in ("head", "worker"):
        data = template_of(account, names.of(role))
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert data["ImageId"] == UBUNTU
        (disk,) = data["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"]
        assert disk["Ebs"]["DeleteOnTermination"]
        assert data["IamInstanceProfile"]["Name"] == names.of(role)
        assert {tags["ResourceType"] for tags in data["TagSpecifications"]} >= {
            "instance",
            "volume",
            "network-interface",
        }


def test_the_group_is_of_spot_machines_of_several_types_and_ends_by_itself(
    account: Account,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, on_demand_base=1, max_price=0.05)
    spec = account.launch(account.provider_with(settings=settings))
    (group,) = account.aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (0, 2, 2)
    assert group["CapacityRebalance"] is True
    policy = group["MixedInstancesPolicy"]
    assert policy["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "lowest-price",
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 0,
        "SpotAllocationStrategy": "price-capacity-optimized",
        "SpotMaxPrice": "0.0500",
    }
    types = [override["InstanceType"] for override in policy["LaunchTemplate"]["Overrides"]]
    assert types == ["c7i.large", "c6i.large"]
    assert len(group["VPCZoneIdentifier"].split(",")) == 3
    (action,) = account.aws.autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert (action["MinSize"], action["MaxSize"], action["DesiredCapacity"]) == (0, 0, 0)
    assert abs(action["StartTime"].timestamp() - spec.ends_s) < 1


def test_user_data_is_a_script_that_holds_no_secret_and_fits(account: Account) -> None:
    spec = account.launch()
    secrets = {
        account.aws.ssm.get_parameter(Name=thing.id, WithDecryption=True)["Parameter"]["Value"]
        for thing in account.things(spec.key)
        if thing.kind == "parameter"
    }
    assert len(secrets) == 3
    for machine in account.provider.cluster("oak", "ada").machines:
        script = user_data_of(account, machine.name)
        assert len(script.encode()) < 16_384
        assert not [secret for secret in secrets if secret in script]
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
        told = script.split("END_OF_SETTINGS")[1].strip().strip("'").strip()
        settings = msgspec.json.decode(told.encode(), type=MachineSettings)
        assert settings.role == machine.role
        assert settings.store == f"s3://{account.provider.bucket}/clusters/{spec.key}"
        assert settings.group == Names(spec.key, "ada").group


def test_passwords_are_random_encrypted_and_each_clusters_own(account: Account) -> None:
    one, other = account.launch(), account.launch(name="elm")
    listed = account.aws.ssm.describe_parameters()["Parameters"]
    ours = [found for found in listed if found["Name"].startswith("/walking-es/")]
    assert {found["Type"] for found in ours} == {"SecureString"}
    values = [
        account.aws.ssm.get_parameter(Name=Names(spec.key, "").parameter(name), WithDecryption=True)
        for spec in (one, other)
        for name in ("redis-password", "worker-password")
    ]
    passwords = {answer["Parameter"]["Value"] for answer in values}
    assert len(passwords) == 4
    assert min(map(len, passwords)) >= 43  # 256 bits


def test_archives_go_up_once_for_each_content(account: Account) -> None:
    account.launch()
    assert any("uploading source/" in line for line in account.said)
    account.said.clear()
    account.launch(name="elm")
    assert not any("uploading" in line for line in account.said)
    assert {key.split("/")[0] for key in account.files("")} == {"boot", "source", "clusters"}


def test_a_launch_in_an_account_that_is_not_set_up_says_so(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    cloud.reset()
    with pytest.raises(ConfigError, match=r"not set up.*manage.py setup"):
        account.launch()
