"""Whatever dies around a relay, or the relay itself: nothing is lost, nobody waits for long."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from real_fleet import collect, wait_for
from real_relays import PlainWorker, RelayThread, a_generation, a_run, batch_of, relay_process

from errors import ResourceExhausted
from fleet import heartbeat, keys
from fleet.connection import Client, connect
from fleet.head.head_broker import HeadBroker
from fleet.head.redis_pool import RedisPool
from fleet.relay.downstream import Downstream
from fleet.server.redis_server import RedisServer
from search.messages import MESSAGE_VERSION, RecordBatch, Task, decode, digest, encode


class Site:
    """The head's Redis at a port and the machine's own at a socket: each can die and come back."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._socket = folder / "own"
        self.head, self.own = RedisServer(self.port), RedisServer(socket_path=self._socket)
        self.above, self.below = connect(self.head.url), connect(self.own.url)

    def kill_head(self) -> None:
        os.kill(self.head.pid, signal.SIGKILL)
        self.head.stop()

    def kill_own(self) -> None:
        os.kill(self.own.pid, signal.SIGKILL)
        self.own.stop()

    def start_head(self) -> None:
        self.head = RedisServer(self.port)

    def start_own(self) -> None:
        self.own = RedisServer(socket_path=self._socket)

    def close(self) -> None:
        for one in (self.above, self.below, self.head, self.own):
            one.stop() if isinstance(one, RedisServer) else one.close()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("s")
    folder.chmod(0o700)
    made = Site(folder)
    yield made
    made.close()


def at(share: float, total: int, act: Callable[[], None]) -> Callable[[dict[int, Any]], None]:
    """For `collect`: do ``act`` once, when so much is answered."""
    acted = False

    def look(answers: dict[int, Any]) -> None:
        nonlocal acted
        if not acted and len(answers) >= share * total:
            acted = True
            act()

    return look


def last_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    (line,) = process.stderr.read().decode().splitlines()
    return str(line)


def test_a_relay_that_is_killed_costs_nothing_but_time(site: Site) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=30)
    with ExitStack() as stack:
        first = stack.enter_context(relay_process(site.head.url, site.own.url))
        for i in range(2):
            stack.enter_context(PlainWorker(site.own.url, f"m-1-{i}", 0.02))
        pool = RedisPool(site.above, experiment)
        pool.open(generation)

        def kill() -> None:
            first.send_signal(signal.SIGKILL)
            first.wait()
            stack.enter_context(relay_process(site.head.url, site.own.url))

        started_s = time.monotonic()
        collect(pool, generation, meanwhile=at(0.3, generation.num_rollouts, kill))
        # Another waits no longer than it takes to see that the first is dead.
        assert time.monotonic() - started_s < 20


def test_a_relay_goes_on_with_the_records_that_a_dead_one_left(site: Site) -> None:
    experiment = a_run()
    generation = a_generation(experiment)
    data = encode(generation)
    uid, name = experiment.run_uid, digest(data)
    HeadBroker(site.above, uid).declare(encode(experiment))
    task = Task(MESSAGE_VERSION, uid, 0, name, 0, 3, 0, 1)
    site.below.rpush(keys.records(uid), batch_of(task))
    with RelayThread(site.head.url, site.own.url):
        popped: Any = site.above.blpop([keys.records(uid)], timeout=9)
    assert popped[1] == batch_of(task)
    assert site.below.llen(keys.records(uid)) == 0


def test_what_a_machines_redis_loses_is_given_back_and_its_run_declared_again(site: Site) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=60)
    with ExitStack() as stack:
        relay = stack.enter_context(RelayThread(site.head.url, site.own.url))
        for i in range(2):
            stack.enter_context(PlainWorker(site.own.url, f"m-1-{i}", 0.01))
        # A rollout that nobody gives back would be waited for ten minutes.
        pool = RedisPool(site.above, experiment, min_task_runtime_s=0.0)
        pool.open(generation)

        def kill() -> None:
            site.kill_own()
            time.sleep(0.3)
            site.start_own()

        started_s = time.monotonic()
        collect(pool, generation, meanwhile=at(0.3, generation.num_rollouts, kill))
        assert time.monotonic() - started_s < 25
        assert any("lost everything" in notice for notice in relay.notices)
        assert pool.status().reissued > 0
        assert pool.status().lost == 0


def test_a_machines_redis_that_is_emptied_loses_nothing(site: Site) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=60)
    with ExitStack() as stack:
        stack.enter_context(RelayThread(site.head.url, site.own.url))
        for i in range(2):
            stack.enter_context(PlainWorker(site.own.url, f"m-1-{i}", 0.01))
        pool = RedisPool(site.above, experiment, min_task_runtime_s=0.0)
        pool.open(generation)

        def empty() -> None:
            site.below.flushall()

        collect(pool, generation, meanwhile=at(0.3, generation.num_rollouts, empty))


@pytest.mark.parametrize("how", ["emptied", "killed"])
def test_a_heads_redis_that_loses_everything_costs_nothing_but_time(site: Site, how: str) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=60)
    with ExitStack() as stack:
        relay = stack.enter_context(RelayThread(site.head.url, site.own.url))
        for i in range(2):
            stack.enter_context(PlainWorker(site.own.url, f"m-1-{i}", 0.01))
        pool = RedisPool(site.above, experiment, min_task_runtime_s=0.0)
        pool.open(generation)

        def lose() -> None:
            if how == "emptied":
                site.above.flushall()
                return
            site.kill_head()
            time.sleep(0.5)
            site.start_head()

        collect(pool, generation, meanwhile=at(0.3, generation.num_rollouts, lose))
        if how == "killed":
            assert "out of reach" in relay.notices[0]
            wait_for(lambda: "there again" in relay.notices[-1], "the good news")
            assert len(relay.notices) <= 4


def test_workers_go_on_while_upstream_is_away_and_their_records_wait(site: Site) -> None:
    experiment = a_run()
    uid = experiment.run_uid
    generation = a_generation(experiment, pairs=30)
    data = encode(generation)
    with ExitStack() as stack:
        stack.enter_context(RelayThread(site.head.url, site.own.url))
        broker = HeadBroker(site.above, uid)
        broker.declare(encode(experiment))
        task = Task(MESSAGE_VERSION, uid, 0, digest(data), 0, 60, 0, 1)
        broker.publish(0, data, [task], "0")
        wait_for(lambda: site.below.exists(keys.experiment(uid)), "the run")
        with ExitStack() as busy:
            for i in range(2):
                busy.enter_context(PlainWorker(site.own.url, f"m-1-{i}", 0.03))
            wait_for(lambda: site.below.exists(keys.generation(uid, 0)), "the generation")
            site.kill_head()
            wait_for(lambda: held(site.below, uid) == 60, "records")
        site.start_head()
        wait_for(lambda: held(site.above, uid) >= 60, "the records")
        wait_for(lambda: held(site.below, uid) == 0, "an empty list")
        wait_for(lambda: heartbeat.fresh(site.above), "a heartbeat")


def held(client: Client, uid: str) -> int:
    """Rollouts among the records there."""
    found: Any = client.lrange(keys.records(uid), 0, -1)
    return len({r.rollout for data in found for r in decode(data, RecordBatch).records})


def test_a_resumed_head_is_served_through_the_same_relay(site: Site) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=30)
    with ExitStack() as stack:
        stack.enter_context(RelayThread(site.head.url, site.own.url))
        for i in range(2):
            stack.enter_context(PlainWorker(site.own.url, f"m-1-{i}", 0.01))
        killed = RedisPool(site.above, experiment)
        killed.open(generation)
        wait_for(lambda: killed.results(0.05), "some results")
        resumed = RedisPool(site.above, experiment)
        resumed.open(generation)
        collect(resumed, generation)


def test_sigterm_gives_back_what_nobody_has_begun(site: Site) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=60)
    may_go_on = True
    with ExitStack() as stack:
        relay = stack.enter_context(relay_process(site.head.url, site.own.url))
        with PlainWorker(site.own.url, "m-1-0", 0.005, lambda: may_go_on):
            pool = RedisPool(site.above, experiment, min_task_runtime_s=0.0)
            pool.open(generation)
            own_queue = keys.tasks(experiment.run_uid, 0)
            answers: dict[int, Any] = {}
            deadline_s = time.monotonic() + 20
            while site.below.llen(own_queue) < 5 and time.monotonic() < deadline_s:
                for batch in pool.results(0.005):
                    answers |= {record.rollout: record for record in batch.records}
            may_go_on = False
            time.sleep(0.05)
            relay.send_signal(signal.SIGTERM)
            assert relay.wait(10) == 0
        assert site.below.llen(own_queue) == 0
        assert site.below.get(keys.RELAY) is None
        assert heartbeat.fresh(site.above) == []
        stack.enter_context(PlainWorker(site.head.url, "m-2-0"))
        while len(answers) < generation.num_rollouts:
            assert time.monotonic() < deadline_s + 20, f"{len(answers)} answers"
            for batch in pool.results(0.1):
                answers |= {record.rollout: record for record in batch.records}
        assert pool.status().reissued > 0
        assert pool.status().lost == 0


def test_a_second_relay_on_the_same_redis_is_refused_in_one_line(site: Site) -> None:
    with ExitStack() as stack:
        stack.enter_context(RelayThread(site.head.url, site.own.url))
        wait_for(lambda: site.below.get(keys.RELAY), "the first")
        second = stack.enter_context(relay_process(site.head.url, site.own.url))
        assert second.wait(20) == ResourceExhausted.exit_code
        line = last_line(second)
        assert line.startswith("error: another relay is at work on unix://")
        assert "--relay_socket_path" in line
        time.sleep(0.1)
        assert site.below.get(keys.RELAY) is not None


def test_a_new_run_is_followed(site: Site) -> None:
    first, second = a_run(), a_run()
    with ExitStack() as stack:
        stack.enter_context(RelayThread(site.head.url, site.own.url))
        worker = stack.enter_context(PlainWorker(site.own.url, "m-1-0"))
        for experiment in (first, second):
            pool = RedisPool(site.above, experiment)
            generation = a_generation(experiment)
            pool.open(generation)
            collect(pool, generation)
            pool.close(0)
            pool.shutdown()
        assert worker.served[-1] == second.run_uid
        wait_for(lambda: site.below.zcard(keys.RUNS) == 0, "no run below")


def test_a_run_whose_head_has_died_makes_way_for_one_that_beats(site: Site) -> None:
    dead, alive = a_run(), a_run()
    with ExitStack() as stack:
        stack.enter_context(RelayThread(site.head.url, site.own.url))
        stack.enter_context(PlainWorker(site.own.url, "m-1-0"))
        killed = RedisPool(site.above, dead)
        wait_for(lambda: site.below.exists(keys.experiment(dead.run_uid)), "the first run")
        pool = RedisPool(site.above, alive)
        generation = a_generation(alive)
        pool.open(generation)
        collect(pool, generation)
        del killed


def test_a_relay_serves_only_the_run_that_it_is_told(site: Site) -> None:
    other, ours = a_run(), a_run()
    HeadBroker(site.above, other.run_uid).declare(encode(other))
    with RelayThread(site.head.url, site.own.url, run=ours.run_uid) as relay:
        wait_for(lambda: heartbeat.fresh(site.above), "the relay")
        assert site.below.keys(keys.experiment("*")) == []
        HeadBroker(site.above, ours.run_uid).declare(encode(ours))
        wait_for(lambda: site.below.exists(keys.experiment(ours.run_uid)), "the run")
        alone = [ours.run_uid.encode()]
        wait_for(lambda: site.below.zrange(keys.RUNS, 0, -1) == alone, "its beat")
        assert relay.notices == []


def test_records_of_another_life_of_the_server_are_not_dropped_for_those_that_were_sent() -> None:
    uid = "ab" * 16

    async def story(url: str) -> tuple[bool, list[bytes]]:
        below = Downstream(url)
        await below.hold.claim()
        await below.put_records(uid, [b"old"] * 3)
        token, sent = below.hold.token, await below.records(uid, 500)
        with connect(url) as client:
            client.flushall()
        assert not await below.hold.keep()
        await below.restore(None, {uid: [b"given back"]})
        await below.put_records(uid, [b"new"] * 3)
        is_held = await below.drop_records(uid, len(sent), token)
        left = await below.records(uid, 500)
        await below.close()
        return is_held, left

    with RedisServer() as server:
        is_held, left = asyncio.run(story(server.url))
    assert not is_held
    assert left == [b"given back", b"new", b"new", b"new"]
