"""What a machine says reaches CloudWatch: once, in order, whatever comes between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from metadata_stand_in import metadata_stand_in
from moto_cloud import REGION, MotoCloud

from cluster.aws.session import Client
from cluster.machine.last_words import request_to
from cluster.machine.log_files import MOST_BEHIND_BYTES, LogFiles
from cluster.machine.log_stream import (
    MOST_BYTES,
    MOST_EVENT_BYTES,
    MOST_EVENTS,
    LogStream,
    batches,
)
from cluster.machine.ship_log import ship_once
from errors import ServiceUnavailable

ROOT = Path(__file__).resolve().parents[2]
GROUP = "/walking-es/trial-01234567"
STREAM = "worker/i-0123456789abcdef0"


def new_files(folder: Path) -> tuple[LogFiles, Path, Path]:
    boot, machine = folder / "boot.log", folder / "machine.log"
    return LogFiles([boot, machine], folder / "places.json"), boot, machine


def say(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def shipped(logs: Client) -> list[str]:
    found = logs.get_log_events(logGroupName=GROUP, logStreamName=STREAM, startFromHead=True)
    return [event["message"] for event in found["events"]]


def test_whole_lines_are_read_once_and_again_until_they_are_taken_care_of(tmp_path: Path) -> None:
    files, boot, machine = new_files(tmp_path)
    assert files.read().lines == []
    say(machine, "third\nhal")
    say(boot, "first\nsecond\n")
    assert files.read().lines == ["first", "second", "third"]
    read = files.read()
    assert read.lines == ["first", "second", "third"], "not sent yet"
    files.forget(read)
    assert files.read().lines == []
    say(machine, "f\n")
    assert files.read().lines == ["half"]
    again = LogFiles([boot, machine], tmp_path / "places.json")
    assert again.read().lines == ["half"], "as another process reads it"


def test_a_file_that_begins_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    files, _, machine = new_files(tmp_path)
    say(machine, "before the reboot\n")
    files.forget(files.read())
    machine.write_text("short\n")
    assert files.read().lines == ["short"]
    files.forget(files.read())
    (tmp_path / "new").write_text("another file of any length at all\n")
    (tmp_path / "new").rename(machine)
    assert files.read().lines == ["another file of any length at all"]


def test_a_flood_loses_what_is_oldest_and_says_so(tmp_path: Path) -> None:
    files, _, machine = new_files(tmp_path)
    line = "x" * 999 + "\n"
    say(machine, line * (2 * MOST_BEHIND_BYTES // 1000))
    say(machine, "the newest\n")
    read = files.read()
    assert "are left out" in read.lines[0]
    lines = []
    while read.lines:
        lines += read.lines
        files.forget(read)
        read = files.read()
    assert lines[-1] == "the newest"
    assert len(lines) < 1200


def test_a_line_without_an_end_holds_up_nobody(tmp_path: Path) -> None:
    files, _, machine = new_files(tmp_path)
    say(machine, "\r50%" * 50_000)
    assert files.read().lines


def test_what_is_sent_at_once_is_within_the_limits_of_aws() -> None:
    lines = ["", "  ", "a" * (3 * MOST_EVENT_BYTES), *("b" * 400 for _ in range(25_000))]
    sent = list(batches(lines, 5))
    assert sum(len(batch) for batch in sent) == 3 + 25_000
    for batch in sent:
        sizes = [len(event["message"].encode()) for event in batch]
        assert len(batch) <= MOST_EVENTS
        assert max(sizes) <= MOST_EVENT_BYTES
        assert sum(sizes) + 26 * len(batch) <= MOST_BYTES
        assert all(event["timestamp"] == 5 for event in batch)
    assert list(batches(["ü" * MOST_EVENT_BYTES], 0))


def test_what_was_said_while_aws_was_away_comes_later(cloud: MotoCloud, tmp_path: Path) -> None:
    logs = cloud.aws().logs
    logs.create_log_group(logGroupName=GROUP)
    files, boot, machine = new_files(tmp_path)
    say(boot, "walking-es: a worker is set up\n")
    away = LogStream(nobody(), GROUP, STREAM)
    for number in range(3):
        say(machine, f"{number}\n")
        with pytest.raises(ServiceUnavailable):
            ship_once(files, away)
    there = LogStream(logs, GROUP, STREAM)
    assert ship_once(files, there)
    assert not ship_once(files, there)
    say(machine, "and on\n")
    assert ship_once(LogFiles([boot, machine], tmp_path / "places.json"), there)
    assert shipped(logs) == ["walking-es: a worker is set up", "0", "1", "2", "and on"]


def test_a_group_that_is_gone_is_an_error_of_ours(cloud: MotoCloud) -> None:
    with pytest.raises(ServiceUnavailable, match="ResourceNotFound"):
        LogStream(cloud.aws().logs, GROUP, STREAM).send(["said in vain"])


def nobody() -> Client:
    """A client of an address where nobody listens."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    where = {"region_name": REGION, "endpoint_url": "http://127.0.0.1:9", "config": config}
    return boto3.client("logs", **where)


def machine_json(folder: Path) -> Path:
    path = folder / "machine.json"
    settings = {
        "provider": "aws",
        "role": "worker",
        "key": "trial-01234567",
        "store": "s3://a-bucket/clusters/trial-01234567",
        "work_dir": str(folder / "work"),
        "region": REGION,
        "log_group": GROUP,
    }
    path.write_text(json.dumps(settings))
    return path


def test_the_service_sends_what_comes_and_at_its_end_the_rest(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    logs = cloud.aws().logs
    logs.create_log_group(logGroupName=GROUP)
    path = machine_json(tmp_path)
    boot, said = tmp_path / "boot.log", tmp_path / "machine.log"
    say(boot, "booting\n")
    with metadata_stand_in() as metadata:
        service = subprocess.Popen(
            [sys.executable, "-m", "cluster.machine.ship_log", str(path)],
            cwd=ROOT,
            env={
                **os.environ,
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.endpoint,
                "WALKING_ES_LOGS": f"{boot}:{said}",
            },
        )
        try:
            deadline_s = time.monotonic() + 60
            while not streams(logs) and time.monotonic() < deadline_s:
                time.sleep(0.05)
            say(said, "last words\n")
            service.terminate()
            assert service.wait(60) == 0
        finally:
            service.kill()
    assert shipped(logs) == ["booting", "last words"]


def streams(logs: Client) -> list[object]:
    found: list[object] = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    return found


def test_a_machine_that_cannot_be_set_up_says_why_with_nothing_installed(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    logs = cloud.aws().logs
    logs.create_log_group(logGroupName=GROUP)
    (tmp_path / "boot.log").write_text("apt-get: no network\n\nsetting up failed in line 7\n")
    keys = {"AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "token"}
    with metadata_stand_in() as metadata:
        metadata.facts["iam/security-credentials/"] = "worker-role"
        metadata.facts["iam/security-credentials/worker-role"] = json.dumps(keys)
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-S", ROOT / "cluster/machine/last_words.py"),
                *(machine_json(tmp_path), tmp_path / "boot.log"),
            ],
            env={
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.endpoint,
                "AWS_ENDPOINT_URL": cloud.url,
            },
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert shipped(logs) == ["apt-get: no network", "setting up failed in line 7"]


def test_its_signature_is_the_one_that_botocore_makes() -> None:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = {"AccessKeyId": "AKID", "SecretAccessKey": "secret", "Token": "token"}
    url = f"https://logs.{REGION}.amazonaws.com/"
    now = datetime(2026, 11, 21, 17, 0, 0, tzinfo=UTC)
    ours = request_to(url, REGION, keys, "PutLogEvents", b"{}", now)
    headers = {name.lower(): value for name, value in ours.header_items()}
    said = headers.pop("authorization")
    auth = SigV4Auth(Credentials("AKID", "secret", "token"), "logs", REGION)
    theirs = AWSRequest("POST", url, data=b"{}", headers=headers)
    theirs.context["timestamp"] = headers["x-amz-date"]
    text = auth.string_to_sign(theirs, auth.canonical_request(theirs))
    assert said.rpartition("Signature=")[2] == auth.signature(text, theirs)
