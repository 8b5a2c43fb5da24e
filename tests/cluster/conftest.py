"""One moto server for all tests of this folder that ask for an AWS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto_cloud import ENVIRONMENT, MotoCloud, moto_server


@pytest.fixture(scope="session")
def moto_cloud() -> Iterator[MotoCloud]:
    """The server, as the last test has left it."""
    with moto_server() as url:
        yield MotoCloud(url)


@pytest.fixture
def cloud(moto_cloud: MotoCloud, monkeypatch: pytest.MonkeyPatch) -> MotoCloud:
    """The server as a new account has it, and an environment that leads boto3 there."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_cloud.url)
    moto_cloud.reset()
    return moto_cloud
