"""AWS, from one of a cluster's machines there."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator

import boto3
import botocore.exceptions
from botocore.config import Config

from cluster.aws.inventory import instances
from cluster.aws.names import Names, disk_gb
from cluster.aws.prices import Prices, beside_usd_per_hour
from cluster.aws.s3_store import S3Store
from cluster.aws.session import Aws, Client, code_of, plainly
from cluster.machine.cost_meter import CostMeter, Paid
from cluster.machine.instance_metadata import ENDPOINT, InstanceMetadata
from cluster.machine.platform import MachineSettings, Notice

_PRICES_HOLD_S = 3600.0
_RUNTIME = "/run/walking-es"
_RUNTIME_VARIABLE = "RUNTIME_DIRECTORY"  # systemd's
_POWER_OFF = "power-off"
"""Whoever makes this file there has the machine end: a service of root's looks for it."""

# Few tries: what asks here asks again, and must hear a SIGTERM meanwhile.
_CONFIG = Config(
    retries={"mode": "adaptive", "max_attempts": 4}, connect_timeout=5, read_timeout=30
)
_PAID_FOR = ("pending", "running")


class AwsPlatform:
    """See `cluster.machine.platform.Platform`.

    Args:
        settings: this machine's.
        aws: the account, by the machine's role.
        metadata: the machine's own.
        power_off: file that has the machine shut down when it is made.
    """

    def __init__(
        self,
        settings: MachineSettings,
        aws: Aws,
        metadata: InstanceMetadata,
        *,
        power_off: str = f"{_RUNTIME}/{_POWER_OFF}",
    ) -> None:
        self._settings = settings
        self._aws = aws
        self._metadata = metadata
        self._power_off = power_off
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()
        self._notice: Notice | None = None
        self._name = settings.name
        self._prices = Prices(aws)
        self._prices_s = time.monotonic()
        self.store = S3Store.at(settings.store, self.client("s3"))
        self._meter = CostMeter(lambda: list(self._paid()), self.store)

    def name(self) -> str:
        """See `Platform.name`: the instance's id."""
        self._name = self._name or self._metadata.needed("instance-id")
        return self._name

    def address(self) -> str:
        """See `Platform.address`: the one within the VPC."""
        return self._metadata.needed("local-ipv4")

    def secret(self, name: str) -> str:
        """See `Platform.secret`."""
        parameter = Names(self._settings.key, "").parameter(name)
        with plainly():
            try:
                answer = self.client("ssm").get_parameter(Name=parameter, WithDecryption=True)
            except botocore.exceptions.ClientError as error:
                if code_of(error) == "ParameterNotFound":
                    return ""
                raise
        return str(answer["Parameter"]["Value"])

    def notice(self) -> Notice | None:
        """See `Platform.notice`."""
        action = self._metadata.get("spot/instance-action")
        if action is not None:
            self._notice = Notice("interruption", _told(action, "action", "time"))
        elif self._notice is None:
            advice = self._metadata.get("events/recommendations/rebalance")
            if advice is not None:
                self._notice = Notice("rebalance", _told(advice, "noticeTime"))
        return self._notice

    def usd_so_far(self) -> float | None:
        """See `Platform.usd_so_far`; the head's role alone may ask."""
        with plainly():
            return self._meter.usd()

    def usd_per_hour(self) -> float:
        """See `Platform.usd_per_hour`."""
        return self._meter.usd_per_hour

    def end_workers(self) -> None:
        """See `Platform.end_workers`; a worker's role may not, and need not: its group does."""
        if self._settings.role != "head":
            return
        with plainly():
            try:
                self.client("autoscaling").update_auto_scaling_group(
                    AutoScalingGroupName=self._settings.group,
                    MinSize=0,
                    MaxSize=0,
                    DesiredCapacity=0,
                )
            except botocore.exceptions.ClientError as error:
                if not _is_gone(error):
                    raise

    def end_machine(self, why: str) -> None:
        """See `Platform.end_machine`. A worker leaves its group, which takes another in its place
        only where AWS has said that it will take this one away.
        """
        try:
            with plainly():
                self._terminate()
        finally:
            # Should AWS not let us: the machine is made so that shutting it down ends it.
            _touch(self._power_off)

    def client(self, service: str) -> Client:
        """A client of one of AWS's services."""
        with self._lock:  # threads may use a client, but not make them, at the same time
            if service not in self._clients:
                session, region = self._aws.session, self._aws.region
                made = session.client(service, region_name=region, config=_CONFIG)
                self._clients[service] = made
            return self._clients[service]

    def _terminate(self) -> None:
        if self._settings.role == "worker":
            try:
                self.client("autoscaling").terminate_instance_in_auto_scaling_group(
                    InstanceId=self.name(), ShouldDecrementDesiredCapacity=self._notice is None
                )
            except botocore.exceptions.ClientError as error:
                if not _is_gone(error):
                    raise
            return
        self.client("ec2").terminate_instances(InstanceIds=[self.name()])

    def _paid(self) -> Iterator[Paid]:
        if time.monotonic() - self._prices_s > _PRICES_HOLD_S:
            self._prices, self._prices_s = Prices(self._aws), time.monotonic()
        for thing in instances(self._aws, self._settings.key):
            found = thing.found
            if thing.state in _PAID_FOR:
                zone = str(found.get("Placement", {}).get("AvailabilityZone", ""))
                is_spot = found.get("InstanceLifecycle") == "spot"
                usd = self._prices.at(found["InstanceType"], is_spot, zone)
                since_s = found["LaunchTime"].timestamp()
                yield Paid(since_s, usd + beside_usd_per_hour(disk_gb(found)))


def aws_platform(settings: MachineSettings) -> AwsPlatform:
    """The platform of this machine, whose role is in the metadata service."""
    endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT
    session = boto3.Session(region_name=settings.region)
    return AwsPlatform(
        settings,
        Aws(session, settings.region),
        InstanceMetadata(endpoint),
        power_off=f"{os.environ.get(_RUNTIME_VARIABLE) or _RUNTIME}/{_POWER_OFF}",
    )


def _is_gone(error: botocore.exceptions.ClientError) -> bool:
    """Whether what was to end has ended already."""
    said = str(error.response.get("Error", {}).get("Message", "")).lower()
    return code_of(error) == "ValidationError" and "not found" in said


def _told(text: str, *names: str) -> str:
    """A notice in JSON, for people."""
    try:
        found = json.loads(text)
        return " ".join(str(found[name]) for name in names)
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200]


def _touch(path: str) -> None:
    # Where there is no such service, nothing but AWS can end this machine.
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
