"""Workers that die of real signals, servers that forget: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest
from real_fleet import (
    DEADLINE_S,
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    rollouts_with,
    said,
    seeds_of,
    wait_for,
)

from fleet import keys
from fleet.connection import Client, connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from fleet.server.redis_server import RedisServer
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    GuardSpec,
    RecordBatch,
    RolloutRecord,
    Task,
    digest,
    encode,
)
from search.noise import NoiseTable, open_table


class Started(NamedTuple):
    """Workers and a pool on one server."""

    pool: RedisPool
    client: Client
    supervisor: subprocess.Popen[bytes]
    notices: list[str]
    log: Path


class World:
    def __init__(self, folder: Path, noise: NoiseTable, server: RedisServer) -> None:
        self.folder = folder
        self.noise = noise
        self.server = server

    def experiment(self, guard: GuardSpec | None = None, **options: Any) -> Experiment:
        return experiment_of(self.noise.spec, guard, **options)

    def wanted(self, experiment: Experiment, generation: Generation) -> dict[int, Any]:
        return expected(experiment, generation, self.noise)

    @contextmanager
    def start(
        self, experiment: Experiment, num_workers: int = 2, url: str | None = None
    ) -> Iterator[Started]:
        url = url or self.server.url
        notices: list[str] = []
        log = self.folder / f"log-{experiment.run_uid}"
        with ExitStack() as stack:
            client = connect(url)
            stack.callback(client.close)
            pool = RedisPool(client, experiment, notice=notices.append)
            stack.callback(pool.shutdown)
            supervisor = stack.enter_context(
                local_workers(num_workers, url, log=log, include=INCLUDE, noise_dir=self.folder)
            )
            yield Started(pool, client, supervisor, notices, log)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("workers")
    with open_table(1, 10_000, folder) as noise, RedisServer() as server:
        yield World(folder, noise, server)


@pytest.fixture
def waiting(world: World, tmp_path: Path) -> tuple[Experiment, Generation]:
    """A run whose rollout 3 waits for the test to let it go on."""
    calm = generation_of()
    experiment = world.experiment(kind="wait", seeds=seeds_of(calm, [3]), folder=str(tmp_path))
    return experiment, of_run(calm, experiment)


def waiters(folder: Path) -> list[int]:
    """Processes in which a rollout waits."""
    return [int(path.name.removeprefix("waiting-")) for path in folder.glob("waiting-*")]


def let_go(folder: Path) -> None:
    (folder / "go").touch()


def children_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children(recursive=True))


def once(condition: Callable[[], Any], act: Callable[[Any], None]) -> Callable[[Any], None]:
    """For `collect`: do ``act`` on what ``condition`` gives when first it is true."""
    done: list[Any] = []

    def look(_answers: Any) -> None:
        if not done and (found := condition()):
            done.append(found)
            act(found)

    return look


def test_a_worker_killed_in_its_rollout_costs_no_result_and_little_time(
    world: World, waiting: tuple[Experiment, Generation], tmp_path: Path
) -> None:
    experiment, generation = waiting
    killed_s: list[float] = []

    def kill(pids: list[int]) -> None:
        os.kill(pids[0], signal.SIGKILL)
        let_go(tmp_path)
        killed_s.append(time.monotonic())

    with world.start(experiment) as started:
        started.pool.open(generation)
        (answers,) = collect(
            started.pool, generation, meanwhile=once(lambda: waiters(tmp_path), kill)
        )
        took_s = time.monotonic() - killed_s[0]
        status = started.pool.status()
    assert {r: said(record) for r, record in answers.items()} == world.wanted(
        experiment, generation
    )
    assert status.lost >= 1
    assert status.reissued >= 1
    # Nobody had to wait until something was overdue.
    assert took_s < experiment.guard.rollout_timeout_s / 10


def test_a_simulator_that_crashes_its_process_has_failed_and_is_final(world: World) -> None:
    calm = generation_of()
    seeds = seeds_of(calm, [2])
    bad = rollouts_with(calm, seeds)
    experiment = world.experiment(kind="crash", seeds=seeds)
    generation = of_run(calm, experiment)
    with world.start(experiment) as started:
        started.pool.open(generation)
        (answers,) = collect(started.pool, generation)
    assert {r for r, record in answers.items() if record.status == "failed"} == bad
    for rollout in bad:
        assert "SIGSEGV" in answers[rollout].error
        assert not answers[rollout].host_failure
    wanted = world.wanted(experiment, generation)
    for rollout in set(answers) - bad:
        assert said(answers[rollout]) == wanted[rollout]


def test_a_rollout_that_takes_too_long_is_killed_and_blamed_on_the_host(world: World) -> None:
    calm = generation_of(pairs=1, episodes=1, validation=1)
    seeds = seeds_of(calm, [calm.num_training])
    experiment = world.experiment(GuardSpec(rollout_timeout_s=0.5), kind="hang", seeds=seeds)
    generation = of_run(calm, experiment)
    with world.start(experiment) as started:
        started.pool.open(generation)
        (answers,) = collect(started.pool, generation)
    assert [answers[r].status for r in range(3)] == ["ok", "ok", "failed"]
    assert answers[2].host_failure
    assert "rollout_timeout_s=0.5" in answers[2].error
    assert answers[2].attempt == 1


def test_sigterm_gives_started_rollouts_back_and_ends_well(
    world: World, waiting: tuple[Experiment, Generation], tmp_path: Path
) -> None:
    experiment, generation = waiting
    with world.start(experiment) as started:
        started.pool.open(generation)
        wait_for(lambda: waiters(tmp_path), "a rollout to wait")
        family = children_of(started.supervisor)
        asked_s = time.monotonic()
        started.supervisor.terminate()
        assert started.supervisor.wait(DEADLINE_S) == 0
        assert time.monotonic() - asked_s < 10
        assert not any(process.is_running() for process in family)
        wait_for(
            lambda: started.pool.results(0.05) is None or started.pool.status().reissued,
            "the rollout to be given back",
        )


def test_a_supervisor_that_is_killed_leaves_no_children(world: World) -> None:
    experiment = world.experiment()
    with world.start(experiment) as started:
        family = wait_for(
            lambda: len(found := children_of(started.supervisor)) == 2 and found, "children"
        )
        started.supervisor.kill()
        started.supervisor.wait()
        gone, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert len(gone) == 2
        assert not alive


def test_an_emptied_redis_is_filled_again(
    world: World, waiting: tuple[Experiment, Generation], tmp_path: Path
) -> None:
    experiment, generation = waiting

    def empty(_pids: list[int]) -> None:
        connect(world.server.url).flushall()
        let_go(tmp_path)

    with world.start(experiment) as started:
        started.pool.open(generation)
        look = once(lambda: waiters(tmp_path), empty)
        (answers,) = collect(started.pool, generation, meanwhile=look)
        assert any("declared it again" in line for line in started.notices)
    assert {r: said(record) for r, record in answers.items()} == world.wanted(
        experiment, generation
    )


def test_a_server_that_is_started_again_is_filled_again(
    world: World, waiting: tuple[Experiment, Generation], tmp_path: Path
) -> None:
    experiment, generation = waiting
    port = free_port()
    with ExitStack() as stack:
        first = stack.enter_context(RedisServer(port))

        def restart(_pids: list[int]) -> None:
            first.stop()
            assert started.pool.results(0.05) == []
            assert started.pool.status().note == "Redis is out of reach"
            let_go(tmp_path)
            stack.enter_context(RedisServer(port))

        started = stack.enter_context(world.start(experiment, url=first.url))
        started.pool.open(generation)
        look = once(lambda: waiters(tmp_path), restart)
        (answers,) = collect(started.pool, generation, meanwhile=look)
        assert any("lost Redis" in line for line in started.notices)
        assert any("again" in line for line in started.notices)
        assert started.pool.status().note == ""
    assert {r: said(record) for r, record in answers.items()} == world.wanted(
        experiment, generation
    )


def test_messages_that_are_not_ours_change_nothing(
    world: World, waiting: tuple[Experiment, Generation], tmp_path: Path
) -> None:
    experiment, generation = waiting
    uid, name = experiment.run_uid, digest(encode(generation))
    task = Task(MESSAGE_VERSION, uid, 0, name, 0, 2, 0, 1)
    lie = RolloutRecord(0, 0, "ok", fitness=1e9)
    batch = RecordBatch(MESSAGE_VERSION, uid, 0, name, "w", (lie,))
    garbage = [b"", b"\xc1", b"{}", encode(task)[:-1]]
    strange = [
        msgspec.structs.replace(task, version=99),
        msgspec.structs.replace(task, digest="f" * 32),
        msgspec.structs.replace(task, run_uid="e" * 32),
        msgspec.structs.replace(task, stop=10**6),
        task,  # rollouts that are handed out twice
    ]
    stale = [
        msgspec.structs.replace(batch, version=99),
        msgspec.structs.replace(batch, digest="f" * 32),
        msgspec.structs.replace(batch, number=5),
        msgspec.structs.replace(batch, records=(msgspec.structs.replace(lie, rollout=10**6),)),
    ]

    def confuse(_pids: list[int]) -> None:
        data = [*garbage, *map(encode, strange)]
        started.client.lpush(keys.tasks(uid, 0), *data)
        started.client.rpush(keys.records(uid), *garbage, *map(encode, stale))
        let_go(tmp_path)

    with world.start(experiment) as started:
        started.pool.open(generation)
        look = once(lambda: waiters(tmp_path), confuse)
        (answers,) = collect(started.pool, generation, meanwhile=look)
        assert sum("was refused" in line for line in started.notices) == 1
        assert started.pool.status().lost == 0
    assert {r: said(record) for r, record in answers.items()} == world.wanted(
        experiment, generation
    )


def test_workers_of_another_code_version_refuse_with_one_line_that_the_head_shows(
    world: World,
) -> None:
    experiment = msgspec.structs.replace(world.experiment(), code_version="0" * 16)
    with world.start(experiment) as started:
        started.pool.open(generation_of(experiment.run_uid))

        def note() -> str:
            assert started.pool.results(0.1) == []
            note = started.pool.status().note
            return note if "head runs code" in note else ""

        said_to_head = wait_for(note, "the head to hear why nothing moves")
        assert "\n" not in said_to_head
        assert "bring both to the same release" in said_to_head

        def times_said() -> int:
            assert started.pool.results(0.1) == []
            return started.log.read_text().count("head runs code")

        wait_for(lambda: times_said() == 2, "both workers to say so")
    # Once for each, however long they wait.
    assert started.log.read_text().count("head runs code") == 2


def test_a_worn_child_is_replaced_and_nothing_is_lost(world: World) -> None:
    experiment = world.experiment(GuardSpec(max_rollouts_per_process=3))
    generation = generation_of(experiment.run_uid, pairs=6)
    with world.start(experiment) as started:
        started.pool.open(generation)
        (answers,) = collect(started.pool, generation)
        assert started.pool.status().lost == 0
        log = started.log.read_text()
    assert "Traceback" not in log
    assert {r: said(record) for r, record in answers.items()} == world.wanted(
        experiment, generation
    )


def test_a_child_that_grows_is_replaced(world: World) -> None:
    experiment = world.experiment(GuardSpec(max_rss_mb=100), leak_mb=40)
    generation = generation_of(experiment.run_uid, pairs=3)
    peak_mb = 0.0
    seen: set[int] = set()

    def look(_answers: Any) -> None:
        nonlocal peak_mb
        for child in children_of(started.supervisor):
            seen.add(child.pid)
            peak_mb = max(peak_mb, child.memory_info().rss / 2**20)

    with world.start(experiment, num_workers=1) as started:
        started.pool.open(generation)
        (answers,) = collect(started.pool, generation, meanwhile=look)
    assert len(answers) == generation.num_rollouts
    assert len(seen) >= 3
    assert peak_mb < 500


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
