"""The workers' program: waits for a head, follows it, gives back, and ends when it is alone."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import msgspec
import pytest
from local_machines import Machines, free_port
from providers import TrialPlatform

from cluster.machine.lookout import Lookout
from cluster.machine.machine_program import Stop
from cluster.machine.platform import MachineSettings, Notice
from cluster.machine.worker import ALONE_S, Worker
from cluster.machine.worker_command import worker_command, worker_environment
from cluster.spec import ClusterSpec
from cluster.store import ENDED_KEY, HEAD_KEY, PROGRESS_KEY, Ended, HeadAddress, Progress, Store
from errors import ConfigError, ServiceUnavailable

# Stands for `es/worker.py workers`: says what it was told, and how it ended.
ECHO = """
import os, signal, sys, time
def leave(number, frame):
    print("gave back", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("told", *sys.argv[1:], os.environ["ES_REDIS_URL"], flush=True)
print("knows", len(os.environ["ES_REDIS_WORKER_PASSWORD"]), "ES_REDIS_PASSWORD" in os.environ)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def echo(tmp_path: Path) -> str:
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return f"python -u {path} {{master_host}} {{master_port}} {{num_workers}}"


def announce(store: Store, port: int, since_s: float = 1.0, certificate: str = "") -> HeadAddress:
    head = HeadAddress(
        host="127.0.0.1", port=port, since_s=since_s, machine="head", certificate=certificate
    )
    store.put(HEAD_KEY, msgspec.json.encode(head))
    return head


def test_workers_wait_for_the_head_follow_it_and_give_back(tmp_path: Path, echo: str) -> None:
    with Machines(tmp_path, worker_command=echo) as machines:
        worker = machines.start("worker-0")
        machines.wait_for(lambda: "waiting" in machines.said("worker-0"), "its first words")
        announce(machines.store, 7001)
        told = "told 127.0.0.1 7001 1 redis://127.0.0.1:7001/0"
        machines.wait_for(lambda: told in machines.said("worker-0"), "workers")
        assert f"knows {len('worker-password-of-this-test')} False" in machines.said("worker-0")
        announce(machines.store, 7002, since_s=2.0)
        machines.wait_for(lambda: "told 127.0.0.1 7002" in machines.said("worker-0"), "others")
        assert machines.said("worker-0").count("gave back") == 1
        notice = machines.cluster.machine("worker-0").work / "notice"
        notice.write_text("in two minutes")
        machines.wait_for(lambda: worker.poll() is not None, "its end")
        assert worker.returncode == 0
        assert "interruption: in two minutes" in machines.said("worker-0")
        assert machines.said("worker-0").count("gave back") == 2


def test_workers_that_die_come_back_more_and_more_slowly(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'raise SystemExit(7)'"
    with Machines(tmp_path, worker_command=command) as machines:
        worker = machines.start("worker-0")
        announce(machines.store, 7001)
        machines.wait_for(
            lambda: "ended with code 7; again in 8 s" in machines.said("worker-0"), "a pause"
        )
        worker.terminate()
        assert worker.wait(60) == 0


class Trial:
    """A worker's service with a clock of ours."""

    def __init__(self, folder: Path, **about: object) -> None:
        with Machines(folder, **about) as machines:
            self.store, self.spec = machines.store, machines.spec
        self.now_s = self.spec.created_s
        self.provider = TrialPlatform(self.store)
        self.stop = Stop()
        self.lookout = Lookout(self.provider, clock=lambda: self.now_s)
        settings = MachineSettings(
            provider="local",
            role="worker",
            key=self.spec.key,
            store=str(folder),
            work_dir=str(folder),
        )
        self.worker = Worker(
            settings, self.provider, self.spec, self.stop, self.lookout, lambda: self.now_s
        )


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path, max_hours=24.0)


def test_a_worker_that_has_seen_no_head_for_half_an_hour_ends_itself(trial: Trial) -> None:
    announce(trial.store, free_port())  # nobody listens there
    trial.lookout.look()
    assert not trial.lookout.knock()
    trial.now_s += ALONE_S - 1
    assert trial.worker.why_to_end() is None
    trial.now_s += 2
    assert "30 minutes" in (trial.worker.why_to_end() or "")


def test_a_redis_that_answers_is_a_sign_of_life(trial: Trial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        announce(trial.store, server.getsockname()[1])
        trial.lookout.look()
        trial.now_s += ALONE_S + 1
        assert trial.lookout.knock()
        assert trial.worker.why_to_end() is None, "whether the store is there or not"


def test_a_head_that_tells_of_its_progress_is_alive(trial: Trial) -> None:
    announce(trial.store, free_port())
    trial.now_s += ALONE_S + 1
    progress = Progress(time_s=trial.now_s - 60)
    trial.store.put(PROGRESS_KEY, msgspec.json.encode(progress))
    trial.lookout.look()
    assert trial.worker.why_to_end() is None
    trial.now_s += ALONE_S
    assert trial.worker.why_to_end() is not None


def test_a_worker_ends_itself_when_its_hours_are_over(trial: Trial) -> None:
    trial.now_s = trial.spec.ends_s + 1
    assert "max_hours=24" in (trial.worker.why_to_end() or "")


@pytest.mark.parametrize("keep", [False, True])
def test_a_worker_that_was_forgotten_when_the_run_ended_ends_itself(
    tmp_path: Path, keep: bool
) -> None:
    trial = Trial(tmp_path, keep=keep)
    trial.store.put(ENDED_KEY, msgspec.json.encode(Ended(time_s=trial.now_s, why="completed")))
    trial.lookout.look()
    assert trial.worker.why_to_end() is None
    trial.now_s += 301
    assert (trial.worker.why_to_end() is None) == keep


def test_a_machine_that_is_likely_to_go_makes_room_for_another(trial: Trial) -> None:
    trial.lookout.notice = Notice("rebalance", "now")
    assert trial.worker.run() == 0
    assert trial.provider.ended == ["rebalance: now"]


def test_a_machine_that_cannot_end_itself_asks_until_it_does(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.machine.worker._GONE_S", 0.01)

    def refuse() -> None:
        if len(trial.provider.ended) == 3:
            trial.stop.ask()
        raise ServiceUnavailable("not at present")

    trial.provider.on_end = refuse
    trial.now_s = trial.spec.ends_s + 1
    assert trial.worker.run() == 0
    assert len(trial.provider.ended) == 3


def test_a_store_that_is_away_is_looked_for_again(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    away = [True]
    get = trial.store.get

    def sometimes(key: str) -> bytes | None:
        if away[0]:
            raise ServiceUnavailable("no network")
        return get(key)

    trial.store.get = sometimes  # type: ignore[method-assign]
    lookout = Lookout(trial.provider, look_every_s=0.01)
    lookout.start()
    head = announce(trial.store, free_port())
    time.sleep(0.1)
    assert lookout.head is None
    away[0] = False
    deadline_s = time.monotonic() + 60
    while lookout.head != head and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert lookout.head == head


def spec_of(trial: Trial, **changed: object) -> ClusterSpec:
    return msgspec.structs.replace(trial.spec, **changed)


def test_what_a_worker_machine_runs_follows_from_spec_and_head(trial: Trial) -> None:
    head = announce(trial.store, 7001, certificate="PEM")
    command = worker_command(spec_of(trial, workers_per_machine=8), head, "/mine")
    assert command[2:] == [
        *("workers", "--master_host=127.0.0.1", "--master_port=7001"),
        *("--num_workers=8", "--include=/mine"),
    ]
    plain = msgspec.structs.replace(head, certificate="")
    command = worker_command(spec_of(trial, workers_per_machine=None), plain, "")
    assert command[2:] == [
        *("workers", "--master_host=127.0.0.1", "--master_port=7001", "--no_tls"),
    ]
    assert worker_environment(head, "secret", "/head.crt") == {
        "ES_REDIS_URL": "rediss://127.0.0.1:7001/0",
        "ES_REDIS_WORKER_PASSWORD": "secret",
        "ES_REDIS_CA_FILE": "/head.crt",
    }
    six = msgspec.structs.replace(plain, host="fd00::7")
    assert worker_environment(six, "s", "")["ES_REDIS_URL"] == "redis://[fd00::7]:7001/0"
    for wrong in ("", "echo 'unfinished"):
        with pytest.raises(ConfigError, match="worker_command"):
            worker_command(spec_of(trial, worker_command=wrong), head, "")
