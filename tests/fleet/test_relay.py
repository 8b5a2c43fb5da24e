"""Through relays or not, the answers are the same, and each byte of a generation comes once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from real_fleet import (
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    said,
    wait_for,
)
from real_relays import PlainWorker, RelayThread, a_generation, a_run, batch_of

from fleet import heartbeat, keys
from fleet.connection import Client, connect
from fleet.head.head_broker import HeadBroker
from fleet.head.redis_pool import RedisPool
from fleet.heartbeat import Heartbeat, WorkerBeat
from fleet.machine.worker_broker import WorkerBroker
from fleet.provision import local_workers
from fleet.security.access import Access
from fleet.server.redis_server import RedisServer
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    Perturbations,
    RecordBatch,
    Task,
    decode,
    digest,
    encode,
)
from search.noise import open_table


class Two(NamedTuple):
    """The head's Redis and a machine's own."""

    head: RedisServer
    own: RedisServer
    above: Client
    below: Client


@pytest.fixture
def two() -> Iterator[Two]:
    with ExitStack() as stack:
        head, own = (stack.enter_context(RedisServer()) for _ in range(2))
        above, below = connect(head.url), connect(own.url)
        stack.callback(above.close)
        stack.callback(below.close)
        yield Two(head, own, above, below)


def workers(
    stack: ExitStack,
    url: str,
    count: int,
    rollout_s: float,
    may_go_on: Callable[[], bool] = lambda: True,
) -> list[PlainWorker]:
    made = [PlainWorker(url, f"m-1-{i}", rollout_s, may_go_on) for i in range(count)]
    return [stack.enter_context(worker) for worker in made]


def queued(client: Client, experiment: Experiment, number: int = 0) -> int:
    uid = experiment.run_uid
    lengths = [client.llen(keys.tasks(uid, number)), client.llen(keys.reissues(uid, number))]
    return sum(lengths)


def publish(two: Two, experiment: Experiment, spans: list[tuple[int, int]]) -> list[Task]:
    """Be a head, by hand, of generation 0."""
    broker = HeadBroker(two.above, experiment.run_uid)
    data = encode(a_generation(experiment, pairs=100))
    name = digest(data)
    tasks = [
        Task(MESSAGE_VERSION, experiment.run_uid, 0, name, first, stop, 0, 1)
        for first, stop in spans
    ]
    broker.declare(encode(experiment))
    broker.publish(0, data, tasks, "0")
    return tasks


@pytest.mark.parametrize("num_relays", [1, 3])
def test_answers_are_the_same_through_any_chain_of_relays(num_relays: int, tmp_path: Path) -> None:
    with ExitStack() as stack:
        noise = stack.enter_context(open_table(1, 10_000, tmp_path))
        experiment = experiment_of(noise.spec)
        servers = [stack.enter_context(RedisServer()) for _ in range(num_relays + 1)]
        for i, (above, below) in enumerate(pairwise(servers)):
            stack.enter_context(RelayThread(above.url, below.url, name=f"r{i}-relay"))
        client = connect(servers[0].url)
        stack.callback(client.close)
        pool = RedisPool(client, experiment)
        stack.enter_context(
            local_workers(
                2, servers[-1].url, log=tmp_path / "log", include=INCLUDE, noise_dir=tmp_path
            )
        )
        for number in range(3):
            generation = of_run(generation_of(number=number), experiment)
            pool.open(generation)
            (answers,) = collect(pool, generation)
            pool.close(number)
            wanted = expected(experiment, generation, noise)
            assert {r: said(record) for r, record in answers.items()} == wanted
        # Whoever looks at the head's Redis sees the workers, and every relay on the way.
        beats = wait_for(
            lambda: (found := heartbeat.fresh(client)) and len(found) == num_relays + 1 and found,
            "all heartbeats",
        )
        assert sum(beat.num_workers for beat in beats) == 2
        wait_for(lambda: pool.results(0.01) is not None and pool.status().num_workers == 2, "2")


def test_a_generation_is_copied_once_however_many_workers_there_are(two: Two) -> None:
    experiment = a_run()
    theta = np.random.default_rng(0).normal(size=250_000).astype(np.float32)
    generation = msgspec.structs.replace(
        a_generation(experiment), candidates=Perturbations.of(theta, 0.1, np.arange(20))
    )
    with ExitStack() as stack:
        relay = stack.enter_context(RelayThread(two.head.url, two.own.url))
        workers(stack, two.own.url, 4, 0.01)
        pool = RedisPool(two.above, experiment)
        before: Any = two.above.info("stats")
        pool.open(generation)
        collect(pool, generation)
        after: Any = two.above.info("stats")
        sent = after["total_net_output_bytes"] - before["total_net_output_bytes"]
        assert 1.0e6 < sent < 1.2e6
        assert relay.relay.counts.generations == 1


def test_no_more_is_held_than_workers_wait_for_when_rollouts_are_long(two: Two) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=3)
    most_ahead = most_taken = 0

    def look(answers: dict[int, Any]) -> None:
        nonlocal most_ahead, most_taken
        most_ahead = max(most_ahead, queued(two.below, experiment))
        taken = generation.num_rollouts - queued(two.above, experiment) - len(answers)
        most_taken = max(most_taken, taken)

    with ExitStack() as stack:
        stack.enter_context(RelayThread(two.head.url, two.own.url))
        pool = RedisPool(two.above, experiment)
        workers(stack, two.own.url, 2, 0.25)
        pool.open(generation)
        collect(pool, generation, meanwhile=look, patience_s=0.01)
    assert most_taken > 0
    assert most_ahead <= 1
    # Two in the workers' hands, and two whose answers are on their way.
    assert most_taken <= 4


def test_a_fifth_of_a_second_of_work_is_held_when_rollouts_are_short(two: Two) -> None:
    experiment = a_run()
    generation = a_generation(experiment, pairs=250)
    seen: list[int] = []
    with ExitStack() as stack:
        relay = stack.enter_context(RelayThread(two.head.url, two.own.url))
        # So that each rollout is a task, and the queue's length says how many wait.
        pool = RedisPool(two.above, experiment, min_task_runtime_s=0.0)
        workers(stack, two.own.url, 2, 0.005)
        pool.open(generation)
        collect(
            pool,
            generation,
            meanwhile=lambda _: seen.append(queued(two.below, experiment)),
            patience_s=0.01,
        )
        assert relay.relay.counts.tasks >= generation.num_rollouts
    # At most 400 rollouts a second, on a busy machine fewer.
    assert 8 < max(seen) < 2 * 80


def test_a_range_is_split_where_more_workers_wait_than_there_are_tasks(two: Two) -> None:
    experiment = a_run()
    HeadBroker(two.above, experiment.run_uid).declare(encode(experiment))
    with ExitStack() as stack:
        stack.enter_context(RelayThread(two.head.url, two.own.url))
        four = workers(stack, two.own.url, 4, 0.01)
        clients: Callable[[], Any] = lambda: two.below.info("clients")  # noqa: E731
        # The relay waits for records too.
        wait_for(lambda: clients()["blocked_clients"] == 5, "waiting workers")
        publish(two, experiment, [(0, 40)])
        records = keys.records(experiment.run_uid)
        wait_for(lambda: two.above.llen(records) >= 4, "answers")
        assert sorted(size for worker in four for size in worker.sizes) == [10, 10, 10, 10]


def test_a_lone_record_goes_up_at_once(two: Two) -> None:
    experiment = a_run()
    with RelayThread(two.head.url, two.own.url):
        (task,) = publish(two, experiment, [(0, 1)])
        uid = experiment.run_uid
        wait_for(lambda: two.below.exists(keys.experiment(uid)), "the run")
        took_s = []
        for _ in range(10):
            time.sleep(0.02)
            started_s = time.monotonic()
            WorkerBroker(two.below, "w-0").send(uid, batch_of(task))
            assert two.above.blpop([keys.records(uid)], timeout=9) is not None
            took_s.append(time.monotonic() - started_s)
        assert sorted(took_s)[4] < 0.05


def test_records_that_come_together_go_together(two: Two) -> None:
    experiment = a_run()
    with RelayThread(two.head.url, two.own.url) as relay:
        (task,) = publish(two, experiment, [(0, 1)])
        uid = experiment.run_uid
        wait_for(lambda: two.below.exists(keys.experiment(uid)), "the run")
        two.below.rpush(keys.records(uid), *[batch_of(task)] * 300)
        wait_for(lambda: two.above.llen(keys.records(uid)) == 300, "all records")
        assert relay.relay.counts.batches <= 3


def test_what_is_no_record_is_dropped_and_complained_of_once(two: Two) -> None:
    experiment, other = a_run(), a_run()
    with RelayThread(two.head.url, two.own.url) as relay:
        (task,) = publish(two, experiment, [(0, 1)])
        uid = experiment.run_uid
        wait_for(lambda: two.below.exists(keys.experiment(uid)), "the run")
        foreign = msgspec.structs.replace(task, run_uid=other.run_uid)
        garbage = [b"", b"\xc1" * 9, encode(task), batch_of(foreign), b"x" * 2**22 + b"x"]
        two.below.rpush(keys.records(uid), *garbage, batch_of(task), *garbage)
        wait_for(lambda: two.below.llen(keys.records(uid)) == 0, "an empty list")
        (only,) = two.above.lrange(keys.records(uid), 0, -1)
        assert only == batch_of(task)
        assert relay.relay.counts.refused == 10
        assert len(relay.notices) == 1


def test_what_is_no_task_is_dropped(two: Two) -> None:
    experiment = a_run()
    with ExitStack() as stack:
        relay = stack.enter_context(RelayThread(two.head.url, two.own.url))
        workers(stack, two.own.url, 1, 0.0)
        uid = experiment.run_uid
        (task,) = publish(two, experiment, [(0, 1)])
        two.above.blpop([keys.records(uid)], timeout=9)
        stale = msgspec.structs.replace(task, digest="0" * 32)
        foreign = msgspec.structs.replace(task, run_uid="f" * 32)
        second = msgspec.structs.replace(task, first=1, stop=2)
        wrong = [b"\xc1", encode(stale), encode(foreign), encode(second)]
        two.above.rpush(keys.tasks(uid, 0), *wrong)
        popped: Any = two.above.blpop([keys.records(uid)], timeout=9)
        assert decode(popped[1], RecordBatch).records[0].rollout == 1
        assert relay.relay.counts.refused == 1


def test_heartbeats_go_up_as_they_are_and_the_relay_adds_its_own(two: Two) -> None:
    experiment = a_run()
    beat = Heartbeat("m-1", "m", "0" * 16, (WorkerBeat("m-1-0", True, rollouts=7),))
    with RelayThread(two.head.url, two.own.url, name="m-2-relay"):
        publish(two, experiment, [])
        heartbeat.send(two.below, beat)
        WorkerBroker(two.below, "m-1-0").join(experiment.run_uid)
        two.below.set(keys.machine("liar"), b"\xc1")
        two.below.zadd(keys.MACHINES, {"liar": time.time()})
        both = wait_for(lambda: len(f := heartbeat.fresh(two.above)) == 2 and f, "heartbeats")
        assert both[0] == beat
        relay = wait_for(
            lambda: (r := heartbeat.fresh(two.above)[-1].relay) and r.run_uid and r, "its run"
        )
        assert relay.upstream == two.head.url
        assert relay.run_uid == experiment.run_uid
        assert two.above.zscore(keys.MACHINES, "liar") is None
        crew = keys.crew(experiment.run_uid)
        wait_for(lambda: two.above.zscore(crew, "m-1-0"), "the crew")
    # It says good-bye for everybody behind it.
    assert heartbeat.fresh(two.above) == []
    assert two.above.zcard(crew) == 0


def test_a_workers_password_is_enough() -> None:
    experiment = a_run()
    generation = a_generation(experiment)
    with ExitStack() as stack:
        head = stack.enter_context(RedisServer(password="h" * 20, worker_password="w" * 20))
        own = stack.enter_context(RedisServer())
        client = connect(head.url, access=head.access)
        stack.callback(client.close)
        access = Access("worker", "w" * 20)
        relay = stack.enter_context(RelayThread(head.url, own.url, access=access))
        workers(stack, own.url, 2, 0.0)
        pool = RedisPool(client, experiment)
        for number in range(2):
            generation = a_generation(experiment, number)
            pool.open(generation)
            collect(pool, generation)
            pool.close(number)
        wait_for(lambda: heartbeat.fresh(client), "heartbeats")
        pool.shutdown()
        time.sleep(0.1)
        untyped: Any = client
        denied = untyped.execute_command("ACL", "LOG")
        reasons = [
            dict(zip(e[::2], e[1::2], strict=True)) if isinstance(e, list) else e for e in denied
        ]
        # What redis-py itself tries on every connection is none of our doing.
        assert {e[b"object"] for e in reasons} <= {b"client|setinfo", b"client|maint_notifications"}
        assert relay.notices == []


def test_closed_generations_leave_nothing_behind(two: Two) -> None:
    experiment = a_run()
    with ExitStack() as stack:
        stack.enter_context(RelayThread(two.head.url, two.own.url))
        workers(stack, two.own.url, 2, 0.0)
        pool = RedisPool(two.above, experiment)
        generation: Generation
        for number in range(5):
            generation = a_generation(experiment, number)
            pool.open(generation)
            collect(pool, generation)
            pool.close(number)
        pattern = keys.generation(experiment.run_uid, 0)[:-1] + "*"
        wait_for(lambda: not two.below.keys(pattern), "the generations' end")
        names: Any = two.below.keys(keys.all_of(experiment.run_uid))
        left = {name.decode().split(":")[2] for name in names}
        assert left <= {"experiment", "open", "crew"}
