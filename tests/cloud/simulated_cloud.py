"""A cloud in which what moto says is running really runs, by its own user data.

It watches moto for instances, boots each in namespaces of its own, and tells moto when one has
ended itself. Where namespaces are not permitted the machines are processes on this machine's
loopback addresses.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from guest import Plan
from machines import GATEWAY, LOOPBACK_PORT, Bridge, Machine
from metadata_service import Metadata
from moto_server import ACCOUNT, REGION, Moto, listening
from network_space import why_no_namespaces
from slow_endings import slow_endings

ROOT = Path(__file__).resolve().parents[2]
_LOOK_S = 0.25
_TEMPLATE_TAG = "aws:ec2launchtemplate:id"


class GuestImage(NamedTuple):
    """What is installed on an image.

    Attributes:
        shown: folders and files of this machine by where guests find them; read only.
        programs: of this machine by where guests have them.
    """

    shown: dict[str, str]
    programs: dict[str, str]


class SimulatedCloud:
    """A context manager; when it ends nothing is left: no process, network or mount.

    Args:
        folder: for the machines' logs; kept.
        images: what those have that are not bare, by their ids.
        environment: of everything that runs in guests, beside what leads them to moto.
        packages: see `guest.Plan`.
        is_apart: whether machines have namespaces of their own; None: where that is permitted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        images: dict[str, GuestImage] | None = None,
        environment: dict[str, str] | None = None,
        packages: dict[str, str] | None = None,
        is_apart: bool | None = None,
    ) -> None:
        self.folder = folder
        self.is_apart = not why_no_namespaces() if is_apart is None else is_apart
        self.machines: dict[str, Machine] = {}
        self.errors: list[BaseException] = []
        self.images, self.environment = images or {}, environment or {}
        self._packages = packages or {}
        self._over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> SimulatedCloud:
        with ExitStack() as undo:
            self.moto = Moto()
            undo.callback(self.moto.close)
            self._bridge: Bridge | None = None
            self._inner_endpoint = self.moto.endpoint
            if self.is_apart:
                self._bridge = Bridge()
                undo.callback(self._bridge.close)
                listener = self._bridge.space.do(lambda: listening(GATEWAY))
                self._inner_endpoint = self.moto.serve(listener)
            self._end_those_that_are_off = undo.enter_context(slow_endings(self._is_on))
            undo.callback(self._close_machines)
            thread = threading.Thread(target=self._watch)
            thread.start()
            undo.callback(thread.join)
            undo.callback(self._over.set)
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        if error is None and self.errors:
            raise self.errors[0]

    @property
    def running(self) -> list[Machine]:
        """Machines that are on, the oldest first."""
        return [machine for machine in self.machines.values() if machine.is_on]

    def wait_for(self, condition: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
        """What ``condition`` gives when that is true.

        Raises:
            AssertionError: it has not come in time, with what the machines said.
        """
        deadline_s = time.monotonic() + within_s
        while not (found := condition()):
            if self.errors:
                raise self.errors[0]
            if time.monotonic() > deadline_s:
                stories = "\n".join(machine.story() for machine in self.machines.values())
                raise AssertionError(f"{what} has not come in {within_s:g} s\n{stories}")
            time.sleep(0.05)
        return found

    def lose(self, machine: Machine) -> None:
        """Its host fails: gone at once; EC2 finds out, and its group replaces it."""
        machine.lose()
        self._ec2().terminate_instances(InstanceIds=[machine.name])

    def take_away(self, machine: Machine) -> None:
        """A spot instance's two minutes are over, or somebody terminates it: in good order."""
        self._ec2().terminate_instances(InstanceIds=[machine.name])

    def _ec2(self) -> Any:
        return self.moto.client("ec2")

    def _is_on(self, name: str) -> bool:
        return name in self.machines and self.machines[name].is_on

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            try:
                self._look()
            except Exception as error:  # whatever it is, the test must hear of it
                self.errors.append(error)
                return

    def _look(self) -> None:
        self._end_those_that_are_off()
        found = self._instances()
        for name, instance in found.items():
            if instance["State"]["Name"] == "running" and name not in self.machines:
                self.machines[name] = self._booted(instance)
        for name, machine in list(self.machines.items()):
            state = found.get(name, {}).get("State", {}).get("Name", "terminated")
            if state != "running" and machine.is_on and not machine.has_done("told to end"):
                machine.events.append({"event": "told to end"})
                machine.shut_down()

    def _instances(self) -> dict[str, dict[str, Any]]:
        pages = self._ec2().get_paginator("describe_instances").paginate()
        reservations = [r for page in pages for r in page["Reservations"]]
        return {i["InstanceId"]: i for r in reservations for i in r["Instances"]}

    def _booted(self, instance: dict[str, Any]) -> Machine:
        name = instance["InstanceId"]
        address = instance["PrivateIpAddress"]
        if self._bridge is None:
            # Others who test here at the same time have others.
            net = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}"
            address = f"{net}.{len(self.machines) + 1}"
        template = self._template(instance)
        image = self.images.get(instance["ImageId"], GuestImage({}, {}))
        environment = {"AWS_ENDPOINT_URL": self._inner_endpoint, **self.environment}
        if self._bridge is None:
            environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"http://{address}:{LOOPBACK_PORT}"
        data = self._ec2().describe_instance_attribute(InstanceId=name, Attribute="userData")
        plan = Plan(
            name=name,
            folder=str(self.folder / name),
            user_data=data["UserData"].get("Value") or template.get("UserData", ""),
            environment=environment,
            interpreter=os.path.realpath(sys.executable),
            status=-1,
            is_apart=self.is_apart,
            host_name=f"ip-{address.replace('.', '-')}",
            hidden=[str(ROOT)],
            shown={**image.shown, sys.base_prefix: sys.base_prefix},
            programs=image.programs,
            packages=self._packages,
        )
        metadata = self._metadata(instance, address, template)
        return Machine(plan, address, self._bridge, metadata, self._is_off)

    def _template(self, instance: dict[str, Any]) -> dict[str, Any]:
        """What the launch template says, which moto does not take over for a group's instances."""
        tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
        if _TEMPLATE_TAG not in tags:
            return {}
        found = self._ec2().describe_launch_template_versions(
            LaunchTemplateId=tags[_TEMPLATE_TAG],
            Versions=[tags.get("aws:ec2launchtemplate:version", "$Latest")],
        )
        data: dict[str, Any] = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        return data

    def _metadata(
        self, instance: dict[str, Any], address: str, template: dict[str, Any]
    ) -> Metadata:
        name, zone = instance["InstanceId"], instance["Placement"]["AvailabilityZone"]
        document = {
            "instanceId": name, "privateIp": address, "region": REGION, "availabilityZone": zone,
            "accountId": ACCOUNT, "instanceType": instance["InstanceType"],
            "imageId": instance["ImageId"], "architecture": instance.get("Architecture", "x86_64"),
        }  # fmt: skip
        facts = {
            "meta-data/instance-id": name,
            "meta-data/local-ipv4": address,
            "meta-data/local-hostname": f"ip-{address.replace('.', '-')}",
            "meta-data/ami-id": instance["ImageId"],
            "meta-data/instance-type": instance["InstanceType"],
            "meta-data/placement/region": REGION,
            "meta-data/placement/availability-zone": zone,
            "dynamic/instance-identity/document": json.dumps(document),
        }
        arn = self._role_arn(instance, template)

        def credentials() -> dict[str, str] | None:
            return self.moto.role_credentials(arn, name) if arn else None

        return Metadata(facts, arn.rpartition("/")[2], credentials)

    def _role_arn(self, instance: dict[str, Any], template: dict[str, Any]) -> str:
        profile = instance.get("IamInstanceProfile") or template.get("IamInstanceProfile") or {}
        name = profile.get("Name") or profile.get("Arn", "").rpartition("/")[2]
        if not name:
            return ""
        found = self.moto.client("iam").get_instance_profile(InstanceProfileName=name)
        arn: str = found["InstanceProfile"]["Roles"][0]["Arn"]
        return arn

    def _is_off(self, machine: Machine) -> None:
        """It has switched itself off; what that means, its instance says."""
        with suppress(BotoCoreError, ClientError):
            template = self._template(self._instances()[machine.name])
            said = (
                self._ec2()
                .describe_instance_attribute(
                    InstanceId=machine.name, Attribute="instanceInitiatedShutdownBehavior"
                )["InstanceInitiatedShutdownBehavior"]
                .get("Value", "stop")
            )
            if "terminate" in (said, template.get("InstanceInitiatedShutdownBehavior")):
                self._ec2().terminate_instances(InstanceIds=[machine.name])
            else:
                self._ec2().stop_instances(InstanceIds=[machine.name])

    def _close_machines(self) -> None:
        for machine in self.machines.values():
            machine.close()
