"""What a machine of a local cluster learns of where it is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cluster.local.folders import ClusterFolder, home_folder
from cluster.local.platform import NOTICE, LocalPlatform
from cluster.local.processes import MACHINE_VARIABLE, birth_of, machines_at_work, start
from cluster.machine.platform import MachineSettings, Platform


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterFolder:
    folder = ClusterFolder(tmp_path / "clusters" / "oak-12345678")
    for name in ("head", "worker-0", "worker-1", "worker-10"):
        folder.machine(name).work.mkdir(parents=True)
    return folder


def settings(cluster: ClusterFolder, name: str) -> MachineSettings:
    machine = cluster.machine(name)
    return MachineSettings(
        provider="local",
        role=machine.role,
        key=cluster.key,
        store=str(cluster.store_path),
        work_dir=str(machine.work),
        name=name,
    )


def test_all_machines_of_a_cluster_share_one_store_and_one_address(cluster: ClusterFolder) -> None:
    head: Platform = LocalPlatform(settings(cluster, "head"))
    worker: Platform = LocalPlatform(settings(cluster, "worker-0"))
    head.store.put("head.json", b"there")
    assert worker.store.get("head.json") == b"there"
    assert (worker.name(), worker.address()) == ("worker-0", "127.0.0.1")
    assert worker.usd_so_far() is None


def test_secrets_are_files_that_only_their_owner_reads_and_no_store_holds(
    cluster: ClusterFolder,
) -> None:
    cluster.keep_secret("redis-password", "hunter2")
    platform = LocalPlatform(settings(cluster, "head"))
    assert platform.secret("redis-password") == "hunter2"
    assert platform.secret("mongo-url") == ""
    kept = cluster.path / "secrets" / "redis-password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert not list(platform.store.entries())


def test_a_machine_is_to_be_taken_away_only_when_its_file_says_so(cluster: ClusterFolder) -> None:
    platform = LocalPlatform(settings(cluster, "worker-1"))
    assert platform.notice() is None
    (cluster.machine("worker-1").work / NOTICE).write_text("terminate at noon\n")
    assert platform.notice() == ("interruption", "terminate at noon")
    assert LocalPlatform(settings(cluster, "worker-0")).notice() is None


def test_machines_are_listed_head_first_and_workers_by_number(cluster: ClusterFolder) -> None:
    assert [m.name for m in cluster.machines()] == ["head", "worker-0", "worker-1", "worker-10"]
    assert [m.number for m in cluster.machines()] == [-1, 0, 1, 10]


def sleeping(cluster: ClusterFolder, name: str) -> None:
    machine = cluster.machine(name)
    machine.leader = start(
        ["/bin/sleep", "600"],
        folder=machine.path,
        log=machine.log,
        environment={**os.environ, MACHINE_VARIABLE: str(machine.path)},
    )


def test_ending_the_workers_leaves_the_head_and_nobody_wanted(cluster: ClusterFolder) -> None:
    cluster.wanted = 2
    for name in ("head", "worker-0", "worker-1"):
        sleeping(cluster, name)
    LocalPlatform(settings(cluster, "head")).end_workers()
    assert machines_at_work(cluster.path) == {cluster.machine("head").path: 1}
    assert cluster.wanted == 0
    LocalPlatform(settings(cluster, "head")).end_machine("the run has ended")
    assert machines_at_work(cluster.path) == {}


def test_a_machine_that_ends_itself_takes_all_of_it_along(cluster: ClusterFolder) -> None:
    machine = cluster.machine("worker-0")
    program = (
        "import subprocess, sys, msgspec\n"
        "from cluster.local.platform import LocalPlatform\n"
        "from cluster.machine.platform import MachineSettings\n"
        "child = subprocess.Popen(['/bin/sleep', '600'], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "LocalPlatform(msgspec.json.decode(sys.argv[1], type=MachineSettings)).end_machine('')\n"
        "print('still there', flush=True)\n"
    )
    told = msgspec.json.encode(settings(cluster, "worker-0")).decode()
    ended = subprocess.run(
        [sys.executable, "-c", program, told],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, MACHINE_VARIABLE: str(machine.path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == -15
    assert birth_of(int(ended.stdout)) is None


def test_the_home_folder_is_the_users_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.delenv("WALKING_ES_HOME", raising=False)
    assert home_folder() == tmp_path / "me" / ".walking-es"
    monkeypatch.setenv("WALKING_ES_HOME", str(tmp_path / "other"))
    assert home_folder() == tmp_path / "other"
