"""The way to AWS: clients that retry, and what to say when they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
import botocore.exceptions
import botocore.parsers
from botocore.config import Config

from cluster.aws.settings import AwsSettings
from errors import AccessRefused, ConfigError, EsError, ResourceExhausted, ServiceUnavailable

Client = Any
"""A client of boto3, which comes without types."""

_CONFIG = Config(
    retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=10, read_timeout=60
)
_ASKED_ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
"""For what there is an answer without: prices have a table behind them."""

_PRICING_REGION = "us-east-1"  # the price list is served from few places, for all regions

_NO_CREDENTIALS = (
    "no AWS credentials were found: run `aws configure`, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or name one of your profiles by --profile"
)
_NO_REGION = (
    "no AWS region was found: say --region (such as eu-central-1), or set AWS_DEFAULT_REGION, or "
    "region in cluster.toml"
)

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "Client.UnauthorizedOperation",
    "403",
}
_NO_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
}
_OVER_LIMIT = {
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "LimitExceeded",
    "LimitExceededException",
    "VolumeLimitExceeded",
}


class Aws:
    """An account in a region; each client is made when it is first asked for.

    Attributes:
        session: boto3's.
        region: such as ``eu-central-1``.
    """

    def __init__(self, session: boto3.Session, region: str) -> None:
        self.session = session
        self.region = region

    def client(self, service: str, region: str | None = None, once: bool = False) -> Client:
        """A client of ``service``; ``once``: it gives up after one try."""
        config = _ASKED_ONCE if once else _CONFIG
        return self.session.client(service, region_name=region or self.region, config=config)

    @cached_property
    def ec2(self) -> Client:
        return self.client("ec2")

    @cached_property
    def autoscaling(self) -> Client:
        return self.client("autoscaling")

    @cached_property
    def s3(self) -> Client:
        return self.client("s3")

    @cached_property
    def iam(self) -> Client:
        return self.client("iam")

    @cached_property
    def ssm(self) -> Client:
        return self.client("ssm")

    @cached_property
    def logs(self) -> Client:
        return self.client("logs")

    @cached_property
    def pricing(self) -> Client:
        return self.client("pricing", _PRICING_REGION, once=True)

    @cached_property
    def quotas(self) -> Client:
        return self.client("service-quotas", once=True)

    @cached_property
    def account_id(self) -> str:
        """Twelve digits."""
        return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def partition(self) -> str:
        """``aws``, or what China and others have instead, as it stands in every ARN."""
        return str(self.session.get_partition_for_region(self.region))

    def bucket(self, settings: AwsSettings) -> str:
        """The bucket for everything of ours in this account and region."""
        return settings.bucket or f"walking-es-{self.account_id}-{self.region}"


def connect(settings: AwsSettings) -> Aws:
    """The account that boto3's own chain of credentials leads to; nothing is sent yet.

    Raises:
        ConfigError: no region, no credentials, no such profile; in one line.
    """
    with plainly():
        session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
        if session.get_credentials() is None:
            raise ConfigError(_NO_CREDENTIALS)
        if session.region_name is None:
            raise ConfigError(_NO_REGION)
        return Aws(session, session.region_name)


def pages(client: Client, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    """Every item of a listing, over all of its pages."""
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page.get(key, ())


def code_of(error: botocore.exceptions.ClientError) -> str:
    """AWS's word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what boto3 raises into errors of ours."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise in_plain_words(error) from error
    except botocore.exceptions.ProfileNotFound as error:
        raise ConfigError(f"{error}: name one of ~/.aws/config by --profile") from None
    except (
        botocore.exceptions.NoCredentialsError,
        botocore.exceptions.PartialCredentialsError,
        botocore.exceptions.CredentialRetrievalError,
        botocore.exceptions.TokenRetrievalError,
        botocore.exceptions.SSOError,
    ) as error:
        raise ConfigError(f"{_NO_CREDENTIALS} ({_line(str(error))})") from None
    except botocore.exceptions.NoRegionError:
        raise ConfigError(_NO_REGION) from None
    except botocore.exceptions.InvalidRegionError as error:
        raise ConfigError(f"{error}: expected a region such as eu-central-1") from None
    except botocore.exceptions.WaiterError as error:
        raise ServiceUnavailable(
            f"AWS did not come to the state waited for ({_line(str(error))}): look again with "
            "`python cluster/manage.py list`"
        ) from error
    except (botocore.exceptions.BotoCoreError, botocore.parsers.ResponseParserError) as error:
        raise ServiceUnavailable(
            f"AWS cannot be reached ({_line(str(error))}): check the network and the region, and "
            "try again"
        ) from error


def in_plain_words(error: botocore.exceptions.ClientError) -> EsError:
    """What AWS refused, for people: what it was and what to do."""
    code, operation = code_of(error), error.operation_name
    said = _line(str(error.response.get("Error", {}).get("Message", "")))
    if code in _EXPIRED:
        return AccessRefused("the AWS credentials have expired: sign in again, then try again")
    if code in _UNKNOWN:
        return AccessRefused(
            f"AWS does not know these credentials ({code}): check the key, or name another profile "
            "by --profile"
        )
    if code in _DENIED:
        return AccessRefused(
            f"AWS does not let you do {operation} ({said or code}): you need the policy that "
            "`python cluster/manage.py policy` prints; ask who runs the account"
        )
    if code in _NO_CAPACITY:
        return ResourceExhausted(
            f"AWS has no such machine to give at present ({said or code}): name other types "
            "(--worker_type, --head_type), other subnets, another region, or try later"
        )
    if code in _OVER_LIMIT:
        return ResourceExhausted(
            f"a quota of the account is used up ({said or code}): ask for more at Service Quotas, "
            "or launch fewer or smaller machines"
        )
    return ServiceUnavailable(f"AWS refused {operation}: {code}: {said}")


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
