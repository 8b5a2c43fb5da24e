"""A bare machine fetches its boot script: signed as AWS wants it, and checked by its hash."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from aws_clusters import Account
from moto_cloud import MotoCloud

from cluster.aws import first_fetch
from cluster.aws.user_data import MOST_BYTES, bake_user_data, user_data
from cluster.machine.platform import MachineSettings
from errors import ConfigError

KEYS = {"AccessKeyId": "AKIA0", "SecretAccessKey": "secret/+=", "Token": "token+/="}
MACHINE = MachineSettings(
    provider="aws",
    role="head",
    key="oak-01234567",
    store="s3://bucket/clusters/oak-01234567",
    work_dir="/var/lib/walking-es",
    region="eu-central-1",
)


class Metadata(BaseHTTPRequestHandler):
    """IMDSv2: nothing without a token."""

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer("the-token")

    def do_GET(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token"] == "the-token"
        named = self.path.endswith("security-credentials/oak")
        self._answer(json.dumps(KEYS) if named else "oak")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_words: object) -> None:
        """Says nothing."""


@contextmanager
def metadata_service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("key", ["boot/0123.sh", "clusters/oak-0/runs/1/a b~c+d.txt"])
def test_requests_are_signed_as_botocore_signs_them(
    method: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    body = b"x" if method == "PUT" else b""
    url = first_fetch.address_of("bucket", "eu-central-1", key)
    assert url.startswith("https://bucket.s3.eu-central-1.amazonaws.com/")
    now = datetime.now(UTC)
    ours = first_fetch.signed(method, url, "eu-central-1", KEYS, body, now)
    theirs = botocore.awsrequest.AWSRequest(method=method, url=url, data=body)
    theirs.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    credentials = botocore.credentials.Credentials(*KEYS.values())
    auth = botocore.auth.S3SigV4Auth(credentials, "s3", "eu-central-1")
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: now, raising=False)
    auth.add_auth(theirs)
    if theirs.headers["X-Amz-Date"] != ours.headers["X-amz-date"]:  # a second has gone by
        return test_requests_are_signed_as_botocore_signs_them(method, key, monkeypatch)
    signature = ours.headers["Authorization"].rpartition("=")[2]
    assert signature == theirs.headers["Authorization"].rpartition("=")[2]
    return None


def test_a_file_comes_whole_or_not_at_all(
    cloud: MotoCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account(cloud, tmp_path)
    bucket = account.provider.bucket
    account.aws.s3.put_object(Bucket=bucket, Key="boot/x.sh", Body=b"echo hello")
    machine = tmp_path / "machine.json"
    machine.write_text(
        json.dumps({"store": f"s3://{bucket}/clusters/oak", "region": "eu-central-1"})
    )
    waits: list[float] = []
    monkeypatch.setattr(first_fetch.time, "sleep", waits.append)
    monkeypatch.setattr(first_fetch, "TRIES", 3)
    digest = hashlib.sha256(b"echo hello").hexdigest()
    with metadata_service() as url:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        file = tmp_path / "boot.sh"
        assert first_fetch.main(str(machine), "boot/x.sh", str(file), digest) == 0
        assert file.read_bytes() == b"echo hello"
        assert waits == []

        other = tmp_path / "other.sh"
        assert first_fetch.main(str(machine), "boot/x.sh", str(other), "0" * 64) == 1
        assert first_fetch.main(str(machine), "boot/none.sh", str(other)) == 1
        assert not other.exists()
        assert waits == [first_fetch.PAUSE_S] * 4

        said = tmp_path / "said"
        said.write_text("baked")
        assert first_fetch.main(str(machine), "clusters/oak/baked", str(said), "--put") == 0
        put = account.aws.s3.get_object(Bucket=bucket, Key="clusters/oak/baked")["Body"].read()
        assert put == b"baked"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    assert first_fetch.main(str(machine), "boot/x.sh", str(other)) == 1


def test_user_data_is_refused_beyond_what_ec2_takes() -> None:
    for script in (user_data(MACHINE, "0" * 64, 1e9), bake_user_data(MACHINE, "0" * 64, 1e9)):
        assert len(script.encode()) < MOST_BYTES / 2
    long = MachineSettings(
        provider="aws", role="head", key="k", store="s3://b/c", work_dir="/" + "x" * MOST_BYTES
    )
    with pytest.raises(ConfigError, match="no more than 16384"):
        user_data(long, "0" * 64, 1e9)
