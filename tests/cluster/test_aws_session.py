"""What is missing, or refused, is said in one line; settings that cannot be are refused early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from cluster.aws.session import connect, in_plain_words, plainly
from cluster.aws.settings import AwsSettings
from errors import AccessRefused, ConfigError, EsError, ResourceExhausted, ServiceUnavailable


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose user has never heard of AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_without_credentials_one_line_says_how_to_get_them(nowhere: Path) -> None:
    with pytest.raises(ConfigError) as error:
        connect(AwsSettings(region="eu-central-1"))
    assert "no AWS credentials" in one_line(error.value)
    assert "aws configure" in str(error.value)
    assert "--profile" in str(error.value)


def test_without_a_region_one_line_says_where_to_name_it(nowhere: Path) -> None:
    (nowhere / "credentials").write_text(
        "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"
    )
    with pytest.raises(ConfigError) as error:
        connect(AwsSettings())
    assert "--region" in one_line(error.value)
    assert connect(AwsSettings(region="eu-central-1")).region == "eu-central-1"


def test_an_unknown_profile_is_named(nowhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"ada.*--profile"):
        connect(AwsSettings(profile="ada"))


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        ("ExpiredToken", AccessRefused, "expired"),
        ("InvalidClientTokenId", AccessRefused, "does not know these credentials"),
        ("UnauthorizedOperation", AccessRefused, "manage.py policy"),
        ("InsufficientInstanceCapacity", ResourceExhausted, "--worker_type"),
        ("VcpuLimitExceeded", ResourceExhausted, "Service Quotas"),
        ("SomethingElse", ServiceUnavailable, "RunInstances: SomethingElse"),
    ],
)
def test_what_aws_refuses_becomes_an_error_of_ours(
    code: str, kind: type[EsError], word: str
) -> None:
    answer = {"Error": {"Code": code, "Message": "one\ntwo"}}
    error = in_plain_words(botocore.exceptions.ClientError(answer, "RunInstances"))
    assert type(error) is kind
    assert word in one_line(error)


@pytest.mark.parametrize(
    "raised",
    [
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"),
    ],
)
def test_an_aws_that_does_not_answer_is_unavailable(raised: Exception) -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be reached"), plainly():
        raise raised


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"bucket": "Has.Dots"}, "no dots"),
        ({"head_type": "large"}, "m7i.large"),
        ({"worker_types": ()}, "one or more"),
        ({"worker_types": ("c7i.large", "c7i.large")}, "named once"),
        ({"subnet_ids": ("net-1",)}, "subnet-"),
        ({"image_id": "ubuntu"}, "ami-"),
        ({"max_price": 0.0}, "above 0"),
        ({"max_price": float("nan")}, "above 0"),
        ({"on_demand_base": -1}, "0 or more"),
        ({"volume_gb": 1}, "8 to"),
        ({"ssh_from": "everywhere"}, "CIDR"),
        ({"ssh_from": "0.0.0.0/0"}, "everybody"),
        ({"ssh_from": "::/0"}, "everybody"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as error:
        AwsSettings(**settings)
    one_line(error.value)
