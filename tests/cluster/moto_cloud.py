"""An AWS of our own for tests: moto's server over HTTP on a free port of this machine."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.server import ThreadedMotoServer
from moto.ssm.models import ssm_backends

from cluster.aws.session import Aws

REGION = "eu-central-1"
UBUNTU = "ami-0123456789abcdef0"
"""What moto is told that Ubuntu's public parameter says: it does not know that one."""

_UBUNTU_PARAMETER = (
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
)

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


class MotoCloud:
    """A moto server that runs; `reset` empties it.

    Attributes:
        url: for AWS_ENDPOINT_URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._aws: Aws | None = None

    def aws(self) -> Aws:
        """Its account, by clients that are made once (boto3 takes a second for some); the
        environment must name the server.
        """
        if self._aws is None:
            self._aws = self.fresh_aws()
        return self._aws

    def fresh_aws(self) -> Aws:
        """The same by clients of its own."""
        return Aws(boto3.Session(region_name=REGION), REGION)

    def allow_plain_http(self, aws: Aws, bucket: str) -> None:
        """Take away the policy that asks for TLS: moto obeys a Deny without asking whether its
        condition holds.
        """
        aws.s3.delete_bucket_policy(Bucket=bucket)

    def reset(self) -> None:
        """Nothing is left in it but what a new account has."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        with urllib.request.urlopen(request, timeout=30):
            pass
        _say_which_ubuntu()


def _say_which_ubuntu() -> None:
    """Put AWS's public parameter there, and the image that it names, which no client may: into the
    server, which is in here.
    """
    backend = ssm_backends[DEFAULT_ACCOUNT_ID][REGION]
    parameter = backend.put_parameter(
        name="ubuntu",
        description="",
        value=UBUNTU,
        parameter_type="String",
        allowed_pattern="",
        keyid="",
        overwrite=True,
        tags=[],
        data_type="text",
        tier="Standard",
        policies=None,
    )
    backend.delete_parameter("ubuntu")
    images = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
    image = images.register_image("ubuntu-noble-24.04")
    images.amis[UBUNTU] = images.amis.pop(image.id)
    image.id, image.architecture = UBUNTU, "x86_64"
    parameter.name = _UBUNTU_PARAMETER
    backend._parameters[_UBUNTU_PARAMETER] = [parameter]


@contextmanager
def moto_server() -> Iterator[str]:
    """A server on 127.0.0.1 for as long as the block runs; its URL."""
    # Hundreds of images that nobody asks for take seconds at each reset.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Calls:
    """Counts calls, and has one of them end in an error of choice.

    Attributes:
        made: operations in the order of their calls.
        services: of each operation, as boto3 names it.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.services: dict[str, str] = {}
        self._at: int | None = None
        self._error: BaseException | None = None

    def cut_after(self, number: int, error: BaseException) -> None:
        """From now on count anew; the call of that ``number``, from 0, is made, and its answer is
        lost: ``error`` comes instead, once.
        """
        self.made.clear()
        self._at, self._error = number, error

    def after(self, model: Any, **_rest: Any) -> None:
        """For boto3."""
        self.made.append(model.name)
        self.services[model.name] = model.service_model.service_name
        if self._error is not None and len(self.made) - 1 == self._at:
            error, self._error = self._error, None
            raise error


_CLIENTS = ("ec2", "autoscaling", "s3", "iam", "ssm", "logs", "pricing", "quotas")


@contextmanager
def called(aws: Aws, event: str, handler: Callable[..., None]) -> Iterator[None]:
    """Have ``handler`` called at an event of boto3's (``before-call.ec2.RunInstances``)."""
    emitters = [getattr(aws, name).meta.events for name in _CLIENTS]
    for emitter in emitters:
        emitter.register(event, handler)
    try:
        yield
    finally:
        for emitter in emitters:
            emitter.unregister(event, handler)
