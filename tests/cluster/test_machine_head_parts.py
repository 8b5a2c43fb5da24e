"""Parts of the head: its Redis beyond loopback, its budget, and a store that is away."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest
import redis
from local_machines import Machines, free_port
from providers import TrialPlatform

from cluster.local import provider
from cluster.machine import head_redis
from cluster.machine.head import CHECKPOINT_S, UPLOAD_S, Head
from cluster.machine.head_redis import HeadRedis
from cluster.machine.machine_program import Stop
from cluster.machine.platform import MachineSettings
from cluster.machine.reporter import Reporter
from cluster.machine.run_files import stored_runs
from cluster.store import ENDED_KEY, PROGRESS_KEY, Ended, FolderStore, HeadAddress, Progress
from errors import ResourceExhausted, ServiceUnavailable
from tracking import run_notices
from tracking.cost import read_cost
from tracking.mongo import live

UNIT = Path(head_redis.__file__).with_name("units") / "walking-es-head.service"
TLS_SERVER = os.environ.get("TEST_REDIS_SERVER") or shutil.which("redis-server")


def settings(folder: Path, port: int) -> MachineSettings:
    return MachineSettings(
        provider="local",
        role="head",
        key="trial-01234567",
        store=str(folder / "store"),
        work_dir=str(folder),
        name="head",
        redis_port=port,
    )


def own_address() -> str:
    """One of this machine's beyond loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address beyond loopback")
        return str(probe.getsockname()[0])


@pytest.mark.skipif(TLS_SERVER is None, reason="no redis-server with TLS: name TEST_REDIS_SERVER")
def test_beyond_loopback_the_head_speaks_tls_and_workers_believe_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_REDIS_SERVER", str(TLS_SERVER))
    platform = TrialPlatform(FolderStore(tmp_path / "store"), own_address())
    with HeadRedis(settings(tmp_path, free_port()), platform, lambda: False) as server:
        head = server.address
        assert server.url.startswith("rediss://")
        assert ssl.PEM_cert_to_DER_cert(head.certificate)
        (tmp_path / "copy.crt").write_text(head.certificate)
        with redis.Redis(
            host=head.host,
            port=head.port,
            username="worker",
            password="worker-password-of-this-test",
            ssl=True,
            ssl_ca_certs=str(tmp_path / "copy.crt"),
        ) as client:
            assert client.ping()
        command = " ".join(psutil.Process(server.pid).cmdline())
        assert "of-this-test" not in command


def test_a_redis_that_dies_is_started_again(tmp_path: Path) -> None:
    platform = TrialPlatform(FolderStore(tmp_path / "store"))
    port = free_port()
    with HeadRedis(settings(tmp_path, port), platform, lambda: False) as server:
        before = server.pid
        with redis.Redis(port=port, password="redis-password-of-this-test") as client:
            assert client.ping()
            for process in psutil.Process(before).children():
                process.send_signal(signal.SIGKILL)
            deadline_s = time.monotonic() + 60
            while server.pid == before and time.monotonic() < deadline_s:
                server.tend()
                time.sleep(0.05)
        assert server.pid != before


def test_a_port_that_is_taken_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    platform = TrialPlatform(FolderStore(tmp_path / "store"))
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ResourceExhausted, match="ended with code"),
    ):
        HeadRedis(settings(tmp_path, taken.getsockname()[1]), platform, lambda: False)


def test_a_budget_ends_machines_that_were_to_be_kept(tmp_path: Path) -> None:
    with Machines(tmp_path, keep=True, budget_usd=2.0) as machines:
        spec, store = machines.spec, machines.store
    store.put(ENDED_KEY, msgspec.json.encode(Ended(time_s=1.0, why="completed")))
    platform, stop = TrialPlatform(store), Stop()
    platform.usd = 2.01
    platform.on_end = stop.ask
    assert Head(settings(tmp_path, 1), platform, spec, stop).run() == 0
    assert platform.ended == ["workers", "completed"]
    progress = store.get(PROGRESS_KEY)
    assert progress is not None
    assert msgspec.json.decode(progress)["usd"] == 2.01


def test_a_run_is_kept_in_the_store_although_that_was_away_for_a_while(tmp_path: Path) -> None:
    away = threading.Event()
    away.set()

    class Sometimes(FolderStore):
        def put(self, key: str, data: bytes) -> None:
            if away.is_set():
                raise ServiceUnavailable("no network")
            super().put(key, data)

    store = Sometimes(tmp_path / "store")
    directory = tmp_path / "runs" / "1"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text("{}")
    address = HeadAddress(host="127.0.0.1", port=1, since_s=1.0, machine="head")
    hasty, patient = (Reporter(TrialPlatform(store), tmp_path / "runs", address) for _ in range(2))
    hasty.start()
    assert not hasty.finish(0.5), "whoever stops has no more time than that"
    patient.start()
    threading.Timer(1.0, away.clear).start()
    assert patient.finish(60)
    assert stored_runs(store) == [1]


def test_a_run_is_kept_although_nobody_knows_what_it_costs(tmp_path: Path) -> None:
    class Priceless(TrialPlatform):
        def usd_so_far(self) -> float | None:
            raise ServiceUnavailable("no price list")

    store = FolderStore(tmp_path / "store")
    store.put(PROGRESS_KEY, msgspec.json.encode(Progress(time_s=1.0, usd=1.5)))
    directory = tmp_path / "runs" / "1"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text("{}")
    address = HeadAddress(host="127.0.0.1", port=1, since_s=1.0, machine="head")
    reporter = Reporter(Priceless(store), tmp_path / "runs", address)
    reporter.start()
    deadline_s = time.monotonic() + 60
    while stored_runs(store) != [1] and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert stored_runs(store) == [1]
    assert reporter.finish(60)
    progress = msgspec.json.decode(store.get(PROGRESS_KEY) or b"", type=Progress)
    assert progress.run_id == 1
    assert progress.usd == 1.5, "what an earlier head counted has been spent"


def test_a_run_says_what_its_machines_cost(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    directory = tmp_path / "runs" / "1"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text("{}")
    address = HeadAddress(host="127.0.0.1", port=1, since_s=1.0, machine="head")
    platform = TrialPlatform(store)
    platform.usd = 1.5
    reporter = Reporter(platform, tmp_path / "runs", address, budget_usd=2.0)
    reporter.start()
    deadline_s = time.monotonic() + 60
    while reporter.usd is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    cost = read_cost(directory)
    assert cost is not None
    assert (cost.usd, cost.usd_per_hour, cost.budget_usd) == (1.5, 0.5, 2.0)
    assert not cost.is_used_up
    platform.usd = 2.0
    assert reporter.finish(60)
    last = read_cost(directory)
    assert last is not None
    assert last.is_used_up
    assert store.get("runs/1/cost.json") == (directory / "cost.json").read_bytes()


def test_a_budget_holds_although_what_it_costs_cannot_be_written(tmp_path: Path) -> None:
    directory = tmp_path / "runs" / "1"
    (directory / "cost.json").mkdir(parents=True)  # no file can take its place
    address = HeadAddress(host="127.0.0.1", port=1, since_s=1.0, machine="head")
    platform = TrialPlatform(FolderStore(tmp_path / "store"))
    platform.usd = 2.5
    reporter = Reporter(platform, tmp_path / "runs", address, budget_usd=2.0)
    reporter.start()
    assert reporter.finish(60)
    assert reporter.usd == 2.5


def test_a_head_has_time_to_end_although_notices_and_mongodb_are_dead() -> None:
    dead_s = run_notices.PATIENCE_S + live.FINISH_S + 1.0
    assert dead_s + 15.0 <= CHECKPOINT_S, "and a snapshot is to be written"
    whole_s = CHECKPOINT_S + UPLOAD_S + head_redis.STOP_S
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert whole_s + 5.0 <= float(stop_s) < 120.0
    assert whole_s + 5.0 <= provider.PATIENCE_S
