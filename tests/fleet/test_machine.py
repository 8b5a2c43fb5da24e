"""A machine of a fleet, started as a user types it: whatever of it dies, nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from real_fleet import (
    DEADLINE_S,
    collect,
    generation_of,
    of_run,
    said,
    seeds_of,
    wait_for,
)
from real_machine import Machine, Site, once

from fleet import heartbeat
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.server.redis_server import RedisServer
from search.messages import Experiment, Generation


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.opened(tmp_path) as opened:
        yield opened


@pytest.fixture
def waiting(site: Site) -> tuple[Experiment, Generation]:
    """A run of which one pair of rollouts waits until there is a file ``go``."""
    calm = generation_of()
    experiment = site.experiment(kind="wait", seeds=seeds_of(calm, [3]))
    return experiment, of_run(calm, experiment)


def waiters(site: Site) -> list[int]:
    """Processes in which a rollout waits."""
    return [int(path.name.removeprefix("waiting-")) for path in site.folder.glob("waiting-*")]


def has_begun(site: Site) -> bool:
    return bool(waiters(site))


def let_go(site: Site) -> None:
    (site.folder / "go").touch()


def folders_of(site: Site) -> list[Path]:
    return list(site.runtime.glob("es-machine-*"))


def test_a_machine_serves_its_head_and_leaves_nothing(site: Site) -> None:
    experiment = site.experiment()
    generation = generation_of(experiment.run_uid)
    with site.machine() as machine, site.pool(experiment) as (pool, client):
        pool.open(generation)
        (answers,) = collect(pool, generation)

        def both() -> list[heartbeat.WorkerBeat]:
            pool.results(0.01)
            beats = [worker for beat in heartbeat.fresh(client) for worker in beat.workers]
            done = sum(worker.rollouts for worker in beats)
            serve = [worker for worker in beats if worker.run_uid == experiment.run_uid]
            return serve if done >= generation.num_rollouts and len(serve) == 2 else []

        wait_for(both, "word of both workers at the head")
        relays = [beat.relay for beat in heartbeat.fresh(client) if beat.relay is not None]
        assert [relay.run_uid for relay in relays] == [experiment.run_uid]
        family = machine.family
        assert [len(machine.those(what)) for what in ("mirror", "relay", "child")] == [1, 1, 2]
        asked_s = time.monotonic()
        assert machine.end() == 0
        assert time.monotonic() - asked_s < 10
    assert not any(process.is_running() for process in family)
    assert not folders_of(site)
    (first, *rest) = machine.log.splitlines()
    assert first.startswith(f"2 workers on {site.runtime}/es-machine-")
    assert first.endswith(f"relay to redis://127.0.0.1:{site.port}/0; Ctrl-C ends them")
    assert not rest
    assert {r: said(record) for r, record in answers.items()} == site.wanted(experiment, generation)


@pytest.mark.parametrize("what", ["relay", "mirror", "child"])
def test_whatever_is_killed_is_started_again_and_every_answer_comes(
    site: Site, waiting: tuple[Experiment, Generation], what: str
) -> None:
    experiment, generation = waiting
    killed: list[int] = []

    def kill(machine: Machine) -> None:
        nonlocal killed
        # Not one that may just have been given a task: nobody could know that it had it.
        begun = set(waiters(site))
        killed += [p.pid for p in machine.those(what) if what != "child" or p.pid in begun]
        for victim in killed:
            os.kill(victim, signal.SIGKILL)
        let_go(site)

    with site.machine() as machine, site.pool(experiment) as (pool, _):
        pool.open(generation)
        look = once(lambda: has_begun(site), lambda _: kill(machine))
        (answers,) = collect(pool, generation, meanwhile=look)
        num = 2 if what == "child" else 1
        wait_for(lambda: len(machine.those(what)) == num, "its successor")
        assert not {process.pid for process in machine.those(what)} & set(killed)
    assert killed
    assert "Traceback" not in machine.log
    assert {r: said(record) for r, record in answers.items()} == site.wanted(experiment, generation)


def test_a_supervisor_that_is_killed_takes_everything_along_and_is_swept_up_after(
    site: Site,
) -> None:
    with site.machine() as machine:
        family = wait_for(
            lambda: len(found := machine.family) == 4 and found, "mirror, relay and children"
        )
        (left,) = folders_of(site)
        machine.process.kill()
        machine.process.wait()
        _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert not alive
    assert left.exists()
    with site.machine() as another:
        wait_for(lambda: "Ctrl-C" in another.log, "the next")
        assert not left.exists()


def test_a_relay_that_keeps_dying_is_told_once_in_the_log_and_to_the_head(site: Site) -> None:
    with site.machine() as machine, connect(site.url) as client:

        def told() -> list[str]:
            for victim in machine.those("relay"):
                victim.kill()
            beats = heartbeat.fresh(client)
            return [beat.last_error for beat in beats if "the relay died" in beat.last_error]

        (line,) = wait_for(told, "the head to hear of it")
        wait_for(lambda: machine.log.count("; trying again every"), "the log to tell of it")
    lines = [one for one in machine.log.splitlines() if " times in " in one]
    assert len(lines) == 1
    assert lines[0].startswith("the relay died 5 times in ")
    assert "was ended by SIGKILL; trying again every 5 s" in lines[0]
    assert line.split(" times")[0] in ("the relay died 5", "the relay died 6", "the relay died 7")


def test_a_machine_that_is_up_before_its_head_says_so_and_waits(site: Site) -> None:
    site.server.stop()
    with site.machine() as machine:
        wait_for(lambda: "trying again every 1 s" in machine.log, "it to say so")
        with RedisServer(site.port), connect(site.url) as client:
            wait_for(lambda: "Ctrl-C ends them" in machine.log, "it to begin")
            wait_for(lambda: heartbeat.fresh(client), "it to be heard of")
            assert machine.end() == 0
    assert machine.log.count("no Redis at") == 1


def test_a_machine_whose_head_never_comes_can_be_stopped(site: Site) -> None:
    site.server.stop()
    with site.machine() as machine:
        wait_for(lambda: "trying again every 1 s" in machine.log, "it to say so")
        assert machine.end(signal.SIGINT) == 0


def test_a_wrong_password_is_one_line_and_the_end(site: Site) -> None:
    site.server.stop()
    with (
        RedisServer(site.port, password="fish"),
        site.machine(ES_REDIS_PASSWORD="fowl") as machine,
    ):
        assert machine.process.wait(DEADLINE_S) == 4
    (line,) = machine.log.splitlines()
    assert line.startswith("error: ")
    assert "password" in line


def test_sigterm_gives_everything_back_through_the_relay(
    site: Site, waiting: tuple[Experiment, Generation]
) -> None:
    experiment, generation = waiting
    answered: dict[int, int] = {}

    def listen(pool: RedisPool) -> bool:
        for batch in pool.results(0.05):
            answered.update({record.rollout: record.attempt for record in batch.records})
        return len(answered) == generation.num_rollouts

    with site.pool(experiment) as (pool, _):
        with site.machine() as machine:
            pool.open(generation)
            wait_for(lambda: listen(pool) or has_begun(site), "a rollout to wait")
            assert machine.end() == 0
        wait_for(lambda: listen(pool) or pool.status().reissued, "it to be given back")
        assert pool.status().lost == 0
        let_go(site)
        with site.machine():
            wait_for(lambda: listen(pool), "every answer")
    assert set(answered.values()) == {0}
    assert "not given back" not in machine.log


def test_a_second_ctrl_c_ends_everything_at_once(
    site: Site, waiting: tuple[Experiment, Generation]
) -> None:
    experiment, generation = waiting
    with site.machine() as machine, site.pool(experiment) as (pool, _):
        pool.open(generation)
        wait_for(lambda: has_begun(site) or pool.results(0.05) is None, "a rollout to wait")
        family = machine.family
        os.kill(waiters(site)[0], signal.SIGSTOP)  # it takes no notice of a request to leave
        asked_s = time.monotonic()
        while machine.process.poll() is None and time.monotonic() - asked_s < DEADLINE_S:
            machine.process.send_signal(signal.SIGINT)  # two sent at once may arrive as one
            time.sleep(0.05)
        assert machine.process.wait() == 130
        assert time.monotonic() - asked_s < 2
        _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert not alive
    assert not folders_of(site)


def test_a_rollout_that_takes_its_machine_down_leaves_no_process(site: Site) -> None:
    calm = generation_of(pairs=1, episodes=1, validation=0)
    experiment = site.experiment(
        "endless:Regicide-v0", kind="take_all_down", seeds=seeds_of(calm, [0])
    )
    with site.machine() as machine, site.pool(experiment) as (pool, _):
        family = wait_for(lambda: len(found := machine.family) == 4 and found, "all of it")
        pool.open(of_run(calm, experiment))
        assert machine.process.wait(DEADLINE_S) == -signal.SIGKILL
        _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert not alive


def test_mirror_relay_and_workers_are_three_commands_too(site: Site) -> None:
    experiment = site.experiment()
    generation = generation_of(experiment.run_uid)
    socket_path = site.runtime / "mirror" / "s"
    master = ("--master-host=127.0.0.1", f"--master-port={site.port}")
    with (
        site.machine("run-mirror", f"--relay-socket-path={socket_path}") as mirror,
        site.machine("run-relay", *master, f"--relay-socket-path={socket_path}") as relay,
    ):
        wait_for(lambda: "Ctrl-C ends it" in mirror.log, "the mirror")
        wait_for(lambda: "Ctrl-C ends it" in relay.log, "the relay")
        words = ("start-workers", "--num_workers=2", f"--redis_url=unix://{socket_path}")
        with site.machine(*words, *site.folders), site.pool(experiment) as (pool, _):
            pool.open(generation)
            (answers,) = collect(pool, generation)
    assert {r: said(record) for r, record in answers.items()} == site.wanted(experiment, generation)


def test_start_workers_with_force_relay_is_such_a_machine(site: Site) -> None:
    experiment = site.experiment()
    generation = generation_of(experiment.run_uid)
    words = ("start-workers", "--force_relay", f"--redis_url={site.url}", "--num_workers=1")
    with site.machine(*words, *site.folders) as machine, site.pool(experiment) as (pool, _):
        pool.open(generation)
        (answers,) = collect(pool, generation)
        assert len(machine.those("relay")) == 1
    assert len(answers) == generation.num_rollouts
