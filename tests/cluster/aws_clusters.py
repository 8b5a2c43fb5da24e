"""What tests of clusters on AWS share: an account that is set up, and launches in it."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto_cloud import REGION, MotoCloud

from cluster.aws.account import place_of, set_up
from cluster.aws.inventory import Thing, find_everything
from cluster.aws.provider import AwsProvider
from cluster.aws.session import Aws
from cluster.aws.settings import AwsSettings
from cluster.spec import ClusterSpec

SETTINGS = AwsSettings(
    region=REGION, worker_types=("c7i.large", "c6i.large"), head_type="m7i.large"
)


def quiet(_line: str) -> None:
    """Says nothing."""


class Account:
    """An account that is set up, without the policy that moto misreads.

    Attributes:
        aws, settings, provider: to look into it.
        archives: for a launch; what is in them, nobody unpacks.
        said: by all commands.
    """

    def __init__(
        self,
        cloud: MotoCloud,
        folder: Path,
        settings: AwsSettings = SETTINGS,
        aws: Aws | None = None,
    ) -> None:
        self.aws = aws or cloud.aws()
        self.settings = settings
        self.said: list[str] = []
        set_up(self.aws, settings, quiet)
        cloud.allow_plain_http(self.aws, place_of(self.aws, settings).bucket)
        source = folder / "source.tar.gz"
        source.write_bytes(b"our code")
        self.source = hashlib.sha256(b"our code").hexdigest()
        self.archives = {self.source: source}
        self.provider = self.provider_with()

    def provider_with(self, **options: Any) -> AwsProvider:
        """Another provider for the same account."""
        return AwsProvider(
            options.pop("aws", self.aws),
            options.pop("settings", self.settings),
            options.pop("sleep", quiet_sleep),
        )

    def spec(self, **options: Any) -> ClusterSpec:
        """Of a cluster of two worker machines, unless ``options`` say otherwise."""
        given: dict[str, Any] = {"name": "oak", "owner": "ada", "size": 2, **options}
        return ClusterSpec(
            uid=secrets.token_hex(16),
            config=("sphere",),
            source=self.source,
            created_s=time.time(),
            **given,
        )

    def launch(self, provider: AwsProvider | None = None, **options: Any) -> ClusterSpec:
        """Launch one; its spec."""
        spec = self.spec(**options)
        (provider or self.provider).launch(
            spec, self.archives, {"mongo-url": "mongodb://ada:pw@db/sacred"}, self.said.append
        )
        return spec

    def things(self, key: str | None = None) -> list[Thing]:
        """Everything that belongs to clusters."""
        return find_everything(self.aws, key)

    def files(self, prefix: str = "clusters/") -> set[str]:
        """Keys in the bucket."""
        bucket = self.provider.bucket
        found = self.aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return {entry["Key"] for entry in found.get("Contents", ())}


def user_data_of(account: Account, instance: str) -> str:
    """What a machine was told when it was started."""
    answer = account.aws.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    return base64.b64decode(answer["UserData"]["Value"]).decode()


def quiet_sleep(_s: float) -> None:
    """Does not wait: what a test's AWS does, it does at once."""


def kinds(things: list[Thing]) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: sum(t.kind == kind for t in things) for kind in sorted({t.kind for t in things})}


def until(is_so: Callable[[], object]) -> None:
    """Poll for a condition, for a minute at the most."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
