"""The simulated cloud itself, with guests that run a tiny program."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cloud_conditions import BOTH
from machines import Machine
from simulated_cloud import ROOT, SimulatedCloud

TINY = Path(__file__).with_name("tiny_program.sh").read_text()
PACKAGES = {"tiny-package": ""}
GROUP = "tiny"


@pytest.fixture(params=BOTH)
def cloud(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SimulatedCloud]:
    with SimulatedCloud(tmp_path, packages=PACKAGES, is_apart=request.param) as cloud:
        yield cloud


def group_of_two(cloud: SimulatedCloud) -> Any:
    """Two instances in an auto scaling group; the client for it."""
    ec2, autoscaling = cloud.moto.client("ec2"), cloud.moto.client("autoscaling")
    data = {
        "ImageId": "ami-12345678",
        "InstanceType": "t3.micro",
        "InstanceInitiatedShutdownBehavior": "terminate",
        "UserData": base64.b64encode(TINY.encode()).decode(),
    }
    ec2.create_launch_template(LaunchTemplateName=GROUP, LaunchTemplateData=data)
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchTemplate={"LaunchTemplateName": GROUP},
        MinSize=0,
        MaxSize=5,
        DesiredCapacity=2,
        AvailabilityZones=["eu-west-1a"],
    )
    return autoscaling


def has_booted(machine: Machine) -> bool:
    """Whether its user data has run to its end, which was good."""
    said = machine.has_done("user data")
    assert said is None or said["code"] == 0, machine.story()
    return said is not None


def answer_of(asking: Machine, asked: str, *words: str) -> str:
    """What one guest's tiny program tells another guest; empty: nothing."""
    try:
        return asking.run("curl", "-s", "-m", "2", *words, f"http://{asked}:8000/").strip()
    except subprocess.CalledProcessError:
        return ""


def wait_for_two(cloud: SimulatedCloud) -> list[Machine]:
    def both() -> list[Machine]:
        machines = cloud.running
        return machines if len(machines) == 2 and all(map(has_booted, machines)) else []

    found: list[Machine] = cloud.wait_for(both, "two machines that have booted")
    for machine in found:
        cloud.wait_for(lambda m=machine: answer_of(m, m.address), "its tiny program")
    return found


@pytest.mark.timeout(400)
def test_what_moto_says_is_running_runs_its_user_data_in_a_place_of_its_own(
    cloud: SimulatedCloud,
) -> None:
    autoscaling = group_of_two(cloud)
    first, second = wait_for_two(cloud)

    # Each has an address, a disk and a memory of its own, and reaches the other.
    assert first.address != second.address
    for machine in (first, second):
        assert answer_of(first, machine.address) == machine.address
        assert machine.run("cat", machine.path("/dev/shm/tiny-was-here")) == machine.address
    assert not any(Path(name).exists() for name in ("/tmp/tiny-was-here", "/opt/tiny"))
    if cloud.is_apart:
        # Of this machine's folders it sees none: not there at all (below /tmp, say), or empty.
        seen = 'for folder; do if [ -e "$folder" ]; then ls -A "$folder"; fi; done'
        assert first.run("sh", "-c", seen, "sh", "/home", str(ROOT)) == ""
    assert "a tiny program runs" in first.log("journal.log")

    # A service that dies is started again.
    first.run("curl", "-s", "-X", "POST", f"http://{first.address}:8000/die")
    cloud.wait_for(lambda: answer_of(second, first.address) == first.address, "the program, again")
    assert first.log("journal.log").count("a tiny program runs") == 2

    # After a reboot it is there again, and what was in memory is not.
    first.reboot()
    cloud.wait_for(lambda: len([e for e in first.events if e["event"] == "booted"]) == 2, "reboot")
    cloud.wait_for(lambda: answer_of(second, first.address) == first.address, "it is up again")
    assert first.run("ls", "-A", first.path("/dev/shm")) == ""
    assert first.log().count("set up in") == 1

    spot_notice_reaches_a_guest(second)

    # One that is lost is gone at once, and replaced by its group.
    had = first.processes()
    cloud.lose(first)
    assert had
    assert not any(is_alive(pid) for pid in had)
    assert not answer_of(second, first.address)
    third = next(m for m in wait_for_two(cloud) if m is not second)
    assert third.address != first.address

    # One that switches itself off is terminated, in good order, and replaced too.
    second.run("curl", "-s", "-X", "POST", f"http://{second.address}:8000/off")
    cloud.wait_for(lambda: not second.is_on, "its end")
    assert "told to end" in second.log("journal.log")
    cloud.wait_for(lambda: states(cloud)[second.name] == "terminated", "moto hears of it")
    wait_for_two(cloud)

    # And the group's end is theirs.
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=0)
    cloud.wait_for(lambda: not cloud.running, "no machine")
    cloud.wait_for(lambda: set(states(cloud).values()) == {"terminated"}, "moto hears of it")


def spot_notice_reaches_a_guest(machine: Machine) -> None:
    """Through the metadata service, which wants a token."""
    url, header = f"{machine.metadata_url}/latest", "X-aws-ec2-metadata-token"
    code = ("-s", "-o", "/dev/null", "-w", "%{http_code}")
    action = f"{url}/meta-data/spot/instance-action"
    assert machine.run("curl", *code, action) == "401"
    life = f"{header}-ttl-seconds: 60"
    assert machine.run("curl", *code, "-X", "PUT", f"{url}/api/token") == "400"
    token = machine.run("curl", "-s", "-X", "PUT", "-H", life, f"{url}/api/token")
    given = ("-H", f"{header}: {token}")
    assert machine.run("curl", "-s", *given, f"{url}/meta-data/instance-id") == machine.name
    assert machine.run("curl", *code, *given, action) == "404"
    machine.metadata.announce_interruption()
    assert json.loads(machine.run("curl", "-s", *given, action))["action"] == "terminate"


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def states(cloud: SimulatedCloud) -> dict[str, str]:
    """Each instance's as moto says."""
    found = cloud.moto.client("ec2").describe_instances()["Reservations"]
    return {i["InstanceId"]: i["State"]["Name"] for r in found for i in r["Instances"]}
