"""What a run finds or starts on this machine, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from fed_by_hand import NOISE
from real_fleet import (
    DEADLINE_S,
    experiment_of,
    generation_of,
    of_run,
    own_children,
    wait_for,
)

from errors import AccessRefused, ServiceUnavailable
from fleet import heartbeat, provision
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.security.access import Access
from fleet.server.redis_server import RedisServer

HEAD = """
import sys, time
from pathlib import Path
from fleet import provision
provision.DEFAULT_URL = sys.argv[1]
folder = Path(sys.argv[2])
with provision.provision(
    "auto", None, include=None, noise_dir=None, notice=print, log=folder / "log"
) as found:
    (folder / "url").write_text(found.url)
    time.sleep(600)
"""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """The usual place, with nobody there, whatever else runs on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    monkeypatch.setattr(provision, "DEFAULT_URL", url)
    return url


def test_a_run_that_finds_nothing_starts_its_own_and_leaves_nothing(
    nowhere: str, tmp_path: Path
) -> None:
    notices: list[str] = []
    before = own_children()
    with provision.provision(
        "auto", None, include=None, noise_dir=None, notice=notices.append, log=tmp_path / "log"
    ) as found:
        client, url = found.client, found.url
        cores = provision.num_cores()
        wait_for(
            lambda: sum(beat.num_workers for beat in heartbeat.fresh(client)) == cores, "workers"
        )
        started = own_children() - before
        assert len(started) == cores + 2
    assert [line for line in notices if f"started {cores} workers" in line] == notices
    assert not any(process.is_running() for process in started)
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_workers_that_are_there_are_used(nowhere: str, tmp_path: Path) -> None:
    with RedisServer() as server:
        client = connect(server.url)
        heartbeat.send(
            client,
            heartbeat.Heartbeat(
                "elsewhere-1", "elsewhere", "x", (heartbeat.WorkerBeat("elsewhere-1-0", True),)
            ),
        )
        with provision.provision(
            "auto", server.url, include=None, noise_dir=None, notice=print, log=tmp_path / "log"
        ) as found:
            assert found.url == server.url
        assert not (tmp_path / "log").exists()
        client.close()


def test_a_server_that_takes_no_writes_is_left_alone(nowhere: str, tmp_path: Path) -> None:
    notices: list[str] = []
    with RedisServer(port=int(nowhere.split(":")[-1].split("/")[0])) as server:
        with connect(server.url) as client:
            client.replicaof("127.0.0.1", "1")
        with provision.provision(
            1, None, include=None, noise_dir=None, notice=notices.append, log=tmp_path / "log"
        ) as found:
            assert found.url.startswith("unix://")
            assert "read only replica" in notices[0]


def test_no_workers_and_no_server_is_refused_rather_than_waited_for(
    nowhere: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(ServiceUnavailable, match="run-server"),
        provision.provision(
            0, None, include=None, noise_dir=None, notice=print, log=tmp_path / "log"
        ),
    ):
        pass


@pytest.mark.parametrize("whose", ["Redis", "workers"])
def test_a_run_whose_own_parts_are_killed_ends_rather_than_waits(
    nowhere: str, tmp_path: Path, whose: str
) -> None:
    """They were its own: nobody else could start them again."""
    before = own_children()
    with provision.provision(
        1, None, include=None, noise_dir=None, notice=print, log=tmp_path / "log"
    ) as found:
        experiment = experiment_of(NOISE)
        pool = RedisPool(found.client, experiment, check=found.check)
        pool.open(of_run(generation_of(), experiment))
        pool.results(0.0)
        started = [p for p in psutil.Process().children() if p in own_children() - before]
        (victim,) = [p for p in started if ("start-workers" in p.cmdline()) == (whose != "Redis")]
        victim.kill()
        with pytest.raises(ServiceUnavailable, match=f"own {whose}.* ended with code -9.*resume="):
            wait_for(lambda: pool.results(0.0) and None, "the end")
        pool.shutdown()


def test_a_head_that_is_taken_for_a_worker_says_which_password_it_needs(
    nowhere: str, tmp_path: Path
) -> None:
    with RedisServer(password="head", worker_password="worker") as server:
        as_worker = Access("worker", "worker")
        with (
            pytest.raises(AccessRefused, match=r"takes us for a worker.*ES_REDIS_PASSWORD"),
            provision.provision(
                "auto",
                server.url,
                include=None,
                noise_dir=None,
                notice=print,
                log=tmp_path / "log",
                access=as_worker,
            ),
        ):
            pass


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_head_that_dies_takes_all_that_it_started_with_it(
    nowhere: str, tmp_path: Path, death: signal.Signals
) -> None:
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD, nowhere, str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        size = 2 + provision.num_cores()
        family = wait_for(
            lambda: (
                len(found := psutil.Process(head.pid).children(recursive=True)) == size and found
            ),
            "server, supervisor and children",
        )
        wait_for(lambda: (tmp_path / "url").exists(), "the head")
        os.kill(head.pid, death)
        head.wait(DEADLINE_S)
        _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert not alive
    finally:
        head.kill()
        head.wait()
