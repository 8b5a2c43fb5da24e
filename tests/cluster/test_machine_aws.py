"""A machine's way to AWS: what it is told of itself, its secrets, its end, and its bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from metadata_stand_in import MetadataStandIn, metadata_stand_in
from moto_cloud import REGION, UBUNTU, MotoCloud

from cluster.aws.s3_store import S3Store
from cluster.machine.aws_platform import AwsPlatform
from cluster.machine.cost_meter import COUNT_EVERY_S, CostMeter, Paid
from cluster.machine.instance_metadata import InstanceMetadata
from cluster.machine.platform import MachineSettings, Notice
from cluster.store import PROGRESS_KEY, Entry, FolderStore, Progress, Store
from errors import AccessRefused, ConfigError, ServiceUnavailable

BUCKET = "walking-es-test"
KEY = "trial-01234567"
GROUP = f"walking-es-{KEY}"


@pytest.fixture
def metadata() -> Iterator[MetadataStandIn]:
    with metadata_stand_in() as service:
        yield service


def settings(role: str = "head") -> MachineSettings:
    words = {
        "provider": "aws",
        "role": role,
        "key": KEY,
        "store": f"s3://{BUCKET}/clusters/{KEY}",
        "work_dir": "/nonexistent",
        "region": REGION,
        "group": GROUP,
        "log_group": f"/walking-es/{KEY}",
    }
    return msgspec.convert(words, MachineSettings)


def platform(
    cloud: MotoCloud, metadata: MetadataStandIn, power_off: Path, role: str = "head"
) -> AwsPlatform:
    client = InstanceMetadata(metadata.endpoint)
    return AwsPlatform(settings(role), cloud.aws(), client, power_off=str(power_off))


def make_bucket(cloud: MotoCloud) -> None:
    where = {"LocationConstraint": REGION}
    cloud.aws().s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    cloud = request.getfixturevalue("cloud")
    make_bucket(cloud)
    return S3Store.at(f"s3://{BUCKET}/clusters/{KEY}/", cloud.aws().s3)


def test_a_store_gives_back_what_was_put_there(store: Store, tmp_path: Path) -> None:
    assert store.get("head.json") is None
    assert not store.get_file("head.json", tmp_path / "there")
    assert not (tmp_path / "there").exists()
    (tmp_path / "file").write_bytes(b"of a file")
    store.put("head.json", b"first")
    store.put("head.json", b"second")
    store.put_file("runs/1/journal/log.000000", tmp_path / "file")
    store.put("runs/1/run.json", b"")
    assert store.get("head.json") == b"second"
    assert store.get_file("runs/1/journal/log.000000", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"of a file"
    entries = [Entry("runs/1/journal/log.000000", 9), Entry("runs/1/run.json", 0)]
    assert list(store.entries("runs/")) == entries
    assert list(store.entries()) == [Entry("head.json", 6), *entries]
    store.delete("runs/1/j")
    store.delete("nothing")
    assert [entry.key for entry in store.entries()] == ["head.json", "runs/1/run.json"]
    with pytest.raises(ConfigError, match="no key"):
        store.put("../evil", b"")
    with pytest.raises(FileNotFoundError):
        store.put_file("gone", tmp_path / "gone")


def test_what_is_large_goes_to_s3_in_parts(cloud: MotoCloud, tmp_path: Path) -> None:
    make_bucket(cloud)
    store = S3Store.at(f"s3://{BUCKET}/x", cloud.aws().s3)
    data = bytes(range(256)) * 2**17 + b"the end"
    (tmp_path / "large").write_bytes(data)
    store.put("a", data)
    store.put_file("b", tmp_path / "large")
    assert store.get("a") == data
    assert store.get_file("b", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == data


def test_more_than_a_page_is_listed_and_deleted(cloud: MotoCloud) -> None:
    make_bucket(cloud)
    client = cloud.aws().s3

    def small_pages(params: dict[str, object], **_rest: object) -> None:
        params["MaxKeys"] = 2

    client.meta.events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    store = S3Store.at(f"s3://{BUCKET}/x", client)
    for number in range(5):
        store.put(str(number), b"")
    assert [entry.key for entry in store.entries()] == list("01234")
    store.delete("")
    assert list(store.entries()) == []


@pytest.mark.parametrize("url", ["/a/folder", "s3://", "s3://bucket", "s3:///clusters/x"])
def test_what_names_no_place_in_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="s3://BUCKET/PREFIX"):
        S3Store.at(url, None)


def test_a_bucket_that_is_not_there_is_an_error_of_ours(cloud: MotoCloud) -> None:
    store = S3Store.at(f"s3://{BUCKET}/x", cloud.aws().s3)
    for ask in (lambda: store.put("a", b""), lambda: store.get("a"), lambda: list(store.entries())):
        with pytest.raises(ServiceUnavailable, match="NoSuchBucket"):
            ask()


def test_a_machine_learns_of_itself_by_a_token(metadata: MetadataStandIn) -> None:
    client = InstanceMetadata(metadata.endpoint)
    assert client.get("local-ipv4") == "10.0.0.7"
    assert client.get("spot/instance-action") is None
    assert len(metadata.tokens) == 1, "one token for all"
    metadata.tokens.clear()  # as after hours: it is no longer good
    metadata.tokens.append("another machine's")
    assert client.get("local-ipv4") == "10.0.0.7"


def test_a_token_is_renewed_before_it_ends(metadata: MetadataStandIn) -> None:
    times_s = iter((0.0, 100.0, 20_000.0, 20_000.0))
    client = InstanceMetadata(metadata.endpoint, clock=lambda: next(times_s))
    for _ in range(3):
        client.get("instance-id")
    assert len(metadata.tokens) == 2


def test_a_metadata_service_that_hangs_or_is_away_holds_nobody_up(
    metadata: MetadataStandIn,
) -> None:
    client = InstanceMetadata(metadata.endpoint, timeout_s=0.2)
    assert client.needed("instance-id")
    metadata.silent_s = 1.0
    began_s = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        client.get("instance-id")
    assert time.monotonic() - began_s < 10
    metadata.silent_s = 0.0
    with pytest.raises(ServiceUnavailable, match="EC2"):
        client.needed("no/such/thing")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        InstanceMetadata("http://127.0.0.1:9", timeout_s=0.2).get("instance-id")


def test_a_machine_knows_its_name_address_and_secrets(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    cloud.aws().ssm.put_parameter(
        Name=f"/walking-es/{KEY}/redis-password", Value="very secret", Type="SecureString"
    )
    machine = platform(cloud, metadata, tmp_path / "off")
    assert machine.name() == "i-0123456789abcdef0"
    assert machine.address() == "10.0.0.7"
    assert machine.secret("redis-password") == "very secret"
    assert machine.secret("mongo-url") == ""


def test_notices_are_heard_and_an_interruption_counts_more(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    machine = platform(cloud, metadata, tmp_path / "off", "worker")
    assert machine.notice() is None
    metadata.facts["events/recommendations/rebalance"] = '{"noticeTime": "2026-11-21T17:00:00Z"}'
    assert machine.notice() == Notice("rebalance", "2026-11-21T17:00:00Z")
    metadata.facts["spot/instance-action"] = (
        '{"action": "terminate", "time": "2026-11-21T17:02:00Z"}'
    )
    assert machine.notice() == Notice("interruption", "terminate 2026-11-21T17:02:00Z")


class Fleet:
    """A head and a group of two, in moto."""

    def __init__(self, cloud: MotoCloud) -> None:
        self.aws = aws = cloud.aws()
        tags = [{"Key": "walking-es:cluster", "Value": KEY}]
        started = aws.ec2.run_instances(
            ImageId=UBUNTU,
            MinCount=1,
            MaxCount=1,
            InstanceType="m7i.large",
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        self.head = str(started["Instances"][0]["InstanceId"])
        aws.ec2.create_launch_template(
            LaunchTemplateName="workers",
            LaunchTemplateData={"ImageId": UBUNTU, "InstanceType": "c7i.2xlarge"},
        )
        aws.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchTemplate={"LaunchTemplateName": "workers"},
            MinSize=0,
            MaxSize=2,
            DesiredCapacity=2,
            AvailabilityZones=[f"{REGION}a"],
            Tags=[tags[0] | {"PropagateAtLaunch": True}],
        )

    def workers(self) -> list[str]:
        group = self.aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
        return [str(instance["InstanceId"]) for instance in group["Instances"]]

    def desired(self) -> int:
        group = self.aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
        return int(group["DesiredCapacity"])

    def state(self, instance: str) -> str:
        found = self.aws.ec2.describe_instances(InstanceIds=[instance])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_the_head_ends_the_workers_and_itself(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    fleet = Fleet(cloud)
    metadata.facts["instance-id"] = fleet.head
    machine = platform(cloud, metadata, tmp_path / "off")
    machine.end_workers()
    assert fleet.workers() == []
    machine.end_machine("the run has ended")
    assert fleet.state(fleet.head) in ("shutting-down", "terminated")
    assert (tmp_path / "off").exists(), "should AWS not do it"
    fleet.aws.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    machine.end_workers()


def test_a_worker_that_ends_itself_is_not_replaced(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    fleet = Fleet(cloud)
    metadata.facts["instance-id"] = leaving = fleet.workers()[0]
    machine = platform(cloud, metadata, tmp_path / "off", "worker")
    machine.end_workers()
    assert fleet.desired() == 2, "that is the head's to do"
    machine.end_machine("no head has been seen")
    assert fleet.desired() == 1
    assert leaving not in fleet.workers()


def test_a_worker_that_aws_will_take_away_is_replaced(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    fleet = Fleet(cloud)
    metadata.facts["instance-id"] = fleet.workers()[0]
    metadata.facts["events/recommendations/rebalance"] = "{}"
    machine = platform(cloud, metadata, tmp_path / "off", "worker")
    assert machine.notice() is not None
    machine.end_machine("rebalance")
    assert fleet.desired() == 2


def test_a_machine_that_may_not_end_itself_asks_to_be_switched_off(
    cloud: MotoCloud,
    metadata: MetadataStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    machine = platform(cloud, metadata, tmp_path / "off")
    with pytest.raises(ServiceUnavailable, match="AWS"):
        machine.end_machine("max_hours")
    assert (tmp_path / "off").exists()


def test_the_head_counts_what_its_cluster_costs(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    make_bucket(cloud)
    Fleet(cloud)
    machine = platform(cloud, metadata, tmp_path / "off")
    usd = machine.usd_so_far()
    assert usd is not None
    assert 0 < usd < 0.05, "three machines, for seconds"


def test_costs_go_on_where_an_earlier_head_left_off(tmp_path: Path) -> None:
    now_s = 10_000.0
    store = FolderStore(tmp_path)
    there = [Paid(since_s=6_400.0, usd_per_hour=2.0)]
    meter = CostMeter(lambda: there, store, clock=lambda: now_s)
    assert meter.usd() == pytest.approx(2.0)
    now_s += COUNT_EVERY_S - 1
    assert meter.usd() == pytest.approx(2.0), "asked once a minute"
    now_s += 1801 - COUNT_EVERY_S
    there.append(Paid(since_s=now_s - 360, usd_per_hour=10.0))
    assert meter.usd() == pytest.approx(2.0 + 1.0 + 1.0)
    assert meter.usd_per_hour == pytest.approx(2.0 + 10.0)
    store.put(PROGRESS_KEY, msgspec.json.encode(Progress(time_s=now_s, usd=4.0)))
    now_s += 3600
    again = CostMeter(lambda: there[:1], store, clock=lambda: now_s)
    assert again.usd() == pytest.approx(4.0 + 2.0)


def test_a_role_without_leave_is_told_so(
    cloud: MotoCloud, metadata: MetadataStandIn, tmp_path: Path
) -> None:
    make_bucket(cloud)
    cloud.aws().s3.put_bucket_policy(
        Bucket=BUCKET,
        Policy='{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", '
        f'"Action": "s3:*", "Resource": "arn:aws:s3:::{BUCKET}/*"}}]}}',
    )
    store = platform(cloud, metadata, tmp_path / "off").store
    asked: list[Callable[[], object]] = [lambda: store.put("a", b""), lambda: store.get("a")]
    with pytest.raises(AccessRefused):
        asked[0]()
    assert asked[1]() is None, "what is not there looks as if it were denied"
