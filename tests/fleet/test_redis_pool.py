"""The head's pool against a real Redis: what is handed out when, what is believed, what is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from fed_by_hand import TIMEOUT_S, FedByHand, experiment, fed_by_hand

from fleet import keys
from fleet.server.redis_server import RedisServer
from policy.statistics import ObservationStatistics
from search.messages import RolloutRecord, encode
from search.seeds import is_observed


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def fed(server: RedisServer) -> Iterator[FedByHand]:
    with fed_by_hand(server) as fed:
        yield fed


def test_what_waits_in_a_queue_is_never_overdue(fed: FedByHand) -> None:
    generation = fed.open(0)
    fed.take()  # by somebody who vanishes
    for _ in range(5):
        fed.tick(10 * TIMEOUT_S)
    assert fed.pool.status().reissued == 0
    for task in fed.take_all():
        fed.answer(generation, task)
    assert len(fed.tick()) == 3
    fed.tick(TIMEOUT_S - 3)  # the clock has run since the last look
    assert fed.pool.status().reissued == 0
    fed.tick(3)
    assert fed.pool.status().reissued == 1


def test_a_copy_is_overdue_only_while_the_queues_of_all_open_generations_are_empty(
    fed: FedByHand,
) -> None:
    first, second = fed.open(0), fed.open(1)
    lost, *rest = fed.take_all(0)
    for task in rest:
        fed.answer(first, task)
    for _ in range(3):
        fed.tick(10 * TIMEOUT_S)
    assert fed.queued(0) == []  # the workers have generation 1 to do
    for task in fed.take_all(1):
        fed.answer(second, task)
    fed.tick()
    fed.tick(2 * TIMEOUT_S)
    again = fed.take(0)
    assert again is not None
    assert (again.first, again.stop, again.attempt) == (lost.first, lost.stop, lost.attempt)
    assert again.copy != lost.copy


def test_deadlines_follow_the_slowest_steps_once_there_are_enough(fed: FedByHand) -> None:
    generation = fed.open(0, pairs=15)  # 30 rollouts of at most 100 steps
    lost, *rest = fed.take_all()
    for task in rest:
        fed.answer(generation, task, length=1)  # 0.1 s a step: 10 s at most
    assert len(fed.tick()) == 29
    fed.tick(9)
    assert fed.queued() == []
    fed.tick(2)
    again = fed.take()
    assert again is not None
    assert again.first == lost.first


def test_a_rollout_that_is_never_heard_of_again_ends_as_failed(server: RedisServer) -> None:
    with fed_by_hand(server, max_losses=2) as fed:
        generation = fed.open(0)
        doomed, *rest = fed.take_all()
        for task in rest:
            fed.answer(generation, task)
        fed.tick()
        copies = 1
        answers: list[Any] = []
        while not answers:
            copies += len(fed.take_all())
            answers = fed.tick(2.1 * TIMEOUT_S)
        (answer,) = answers
        assert (answer.rollout, answer.status) == (doomed.first, "failed")
        assert answer.host_failure
        assert answer.error.startswith("lost 2 times")
        assert copies == 3
        assert fed.pool.status().lost == 2


def test_what_was_lost_too_often_is_answered_though_redis_is_lost_that_moment(
    server: RedisServer,
) -> None:
    with fed_by_hand(server, max_losses=1) as fed:
        fed.open(0, pairs=1)
        fed.take_all()
        fed.tick()
        fed.tick(TIMEOUT_S)
        fed.take_all()
        fed.tick()
        # From here on every write is refused; the first is the head's own beat.
        fed.client.config_set("maxmemory", 1)
        try:
            assert fed.tick(3 * TIMEOUT_S) == []
            assert fed.pool.status().note == "Redis is out of reach"
        finally:
            fed.client.config_set("maxmemory", 0)
        assert [answer.status for answer in fed.tick(3 * TIMEOUT_S)] == ["failed", "failed"]


def test_word_of_a_loss_and_what_is_given_back_are_handed_out_at_once(fed: FedByHand) -> None:
    generation = fed.open(0)
    one, other, *_ = fed.take_all()
    fed.answer(generation, one, status="lost", fitness=0.0)
    fed.answer(generation, other, status="returned", fitness=0.0)
    assert fed.tick(0.0) == []
    assert {task.first for task in fed.take_all()} == {one.first, other.first}
    status = fed.pool.status()
    assert (status.reissued, status.lost) == (2, 1)


def test_every_batch_of_a_flood_is_read_in_bounded_portions(fed: FedByHand) -> None:
    generation = fed.open(0, pairs=30)
    wordy = "x" * 400
    portions: list[int] = []
    for rollout in range(60):
        records = [RolloutRecord(rollout, 0, "failed", error=wordy)] * 2000  # 0.9 MB
        fed.send(generation, [*records, RolloutRecord(rollout, 0, "ok")])
    while sum(portions) < 60:
        portions.append(len(fed.tick()))
        assert len(portions) < 60
    assert max(portions) < 25  # 16 MB of them


@pytest.mark.parametrize(
    "flood",
    [b"", b"\xc1" * 1000, b"x" * (5 * 2**20), encode(experiment())],
    ids=["nothing", "noise", "too much", "something else"],
)
def test_messages_that_are_none_are_counted_and_complained_of_once(
    fed: FedByHand, flood: bytes
) -> None:
    generation = fed.open(0)
    task = fed.take()
    assert task is not None
    fed.client.rpush(keys.records(fed.uid), flood, flood, flood)
    fed.answer(generation, task)
    answers = fed.tick() + fed.tick() + fed.tick()
    assert [answer.rollout for answer in answers] == [task.first]
    complaints = [line for line in fed.notices if "was refused" in line]
    assert len(complaints) == 1
    assert len(complaints[0]) < 700
    assert complaints[0].isprintable()
    assert fed.report().refused == 3


def test_answers_that_come_twice_or_too_late_are_counted(fed: FedByHand) -> None:
    first = fed.open(0)
    fed.open(1)
    task = fed.take()
    assert task is not None
    for _ in range(3):
        fed.answer(first, task)
    assert len(fed.tick()) == 1
    fed.pool.close(0)
    fed.answer(first, task)
    assert fed.tick() == []
    assert fed.report().duplicates == 3


def test_an_answer_to_another_generation_of_the_same_number_is_none(fed: FedByHand) -> None:
    """As of a run's closing test, whose number the next generation has when the run goes on."""
    generation = fed.open(5)
    task = fed.take(5)
    fed.answer(msgspec.structs.replace(generation, final=True), task, fitness=99.0)
    assert fed.tick() == []
    fed.answer(generation, task)
    assert [record.fitness for record in fed.tick()] == [1.0]


def test_what_no_honest_worker_can_have_is_not_believed(fed: FedByHand) -> None:
    generation = fed.open(0, pairs=20)
    observed = [r for r in range(40) if is_observed(generation, r)]
    unobserved = next(r for r in range(40) if r not in observed)
    large, small = [1e200, 0.0], [1.0, 2.0]
    lies: dict[str, Any] = {
        "statistics": [
            (observed[0], moments(large, small)),
            (observed[0], moments(small, large)),
            (observed[0], moments([1.0], [1.0])),
            (observed[0], moments(small, small, count=2**60)),
            (unobserved, moments(small, small)),
        ],
        "length": [(observed[0], 2**53)],
    }
    for field, cases in lies.items():
        for rollout, value in cases:
            fed.send(generation, [RolloutRecord(rollout, 0, "ok", **{field: value})])
            assert fed.tick() == []
    assert fed.report().refused == 6
    fed.send(generation, [RolloutRecord(observed[0], 0, "ok", statistics=moments(small, small))])
    assert len(fed.tick()) == 1


def moments(mean: list[float], m2: list[float], count: int = 3) -> ObservationStatistics:
    return ObservationStatistics.of(count, np.array(mean), np.array(m2))


def test_terms_that_could_not_be_shown_are_left_out(fed: FedByHand) -> None:
    generation = fed.open(0)
    for rollout, terms in enumerate(
        ({"effort": -1.0}, {"\x1b[2J": 1.0}, {"x" * 101: 1.0}, {str(n): 1.0 for n in range(65)})
    ):
        fed.send(generation, [RolloutRecord(rollout, 0, "ok", terms=terms)])
    assert [answer.terms for answer in fed.tick()] == [{"effort": -1.0}, {}, {}, {}]


def test_the_report_says_where_the_run_stands(fed: FedByHand) -> None:
    fed.tick()
    report = fed.report()
    assert (report.run_id, report.generation, report.total, report.note) == ("1", 0, 0, "")
    generation = fed.open(3, known=[0])
    fed.open(4)
    for task in fed.take_all(3)[:2]:
        fed.answer(generation, task)
    fed.tick()
    fed.tick()
    report = fed.report()
    assert (report.generation, report.done, report.total) == (3, 3, 4)
    assert report.open_numbers == (3, 4)
    assert (report.rollouts, report.env_steps, report.failed) == (2, 20, 0)
    assert report.rollouts_per_s > 0
    assert report.env == fed.run.env.name
    for number in (3, 4):
        fed.pool.close(number)
    fed.tick()
    assert (fed.report().generation, fed.report().open_numbers) == (5, ())


def test_without_workers_it_says_so_and_how_to_start_some(fed: FedByHand) -> None:
    fed.open(0)
    fed.tick(1)
    assert fed.pool.status().note == ""  # it has only just begun
    fed.tick(10)
    assert "no workers: start some with `python es/worker.py" in fed.pool.status().note
    fed.beat(is_up=False, last_error="ended by SIGKILL")
    fed.tick(10)
    assert fed.pool.status().note == "no worker is up on hand: ended by SIGKILL"
    assert fed.report().note == fed.pool.status().note
    assert fed.pool.status().num_workers == 0


def test_workers_of_another_version_are_told_apart_with_both_versions(fed: FedByHand) -> None:
    fed.open(0)
    fed.beat(code_version="abc123")
    fed.tick(10)
    note = fed.pool.status().note
    assert "1 worker of another version: code abc123" in note
    assert f"the head runs code {fed.run.code_version}" in note
    fed.beat("other-2", doing_s=5.0)  # one that does work
    fed.tick(10)
    assert fed.pool.status().note == ""


def test_why_idle_workers_refuse_is_said_and_busy_ones_have_their_peace(fed: FedByHand) -> None:
    fed.open(0)
    fed.beat(refusal="its noise table\nis another \x1b[2J")
    fed.tick(10)
    said = "hand: its noise table is another ?[2J"
    assert fed.pool.status().note == said
    assert fed.notices == [said]  # once, however often it is heard
    fed.beat(doing_s=50.0, last_error="fell an hour ago")
    fed.tick(10)
    assert fed.pool.status().note == ""


def test_that_all_rollouts_fail_is_said_while_things_move(fed: FedByHand) -> None:
    generation = fed.open(0)
    for task in fed.take_all()[:3]:
        fed.answer(generation, task, status="failed", fitness=0.0, error="no such\nmodel")
    fed.tick(0.0)
    expected = "all 3 attempts at rollouts have failed so far, the first with: no such model"
    assert fed.pool.status().note == expected
    task = fed.take_all()[-1]
    fed.answer(generation, task)
    fed.tick(0.0)
    assert fed.pool.status().note == ""


def test_strange_heartbeats_hide_no_machine(fed: FedByHand) -> None:
    fed.beat()
    now_s = fed.client.time()[0] + 1
    for name in (b"\xff\xfe", b"", b"garbage", b"gone", b"a list", b"huge"):
        fed.client.zadd(keys.MACHINES, {name: now_s})
    fed.client.set(keys.machine("garbage"), b"\xc1\x00")
    fed.client.rpush(keys.machine("a list"), "x")
    fed.client.set(keys.machine("huge"), b"x" * 2**21)
    try:
        fed.tick()
        assert fed.pool.status().num_workers == 1
    finally:
        fed.client.delete(keys.MACHINES, keys.machine("a list"))
    fed.tick()
    assert fed.pool.status().num_workers == 0


def test_closed_generations_leave_nothing_but_word_that_none_is_open(fed: FedByHand) -> None:
    fed.open(0)
    fed.open(1)
    fed.pool.close(0)
    assert fed.client.get(keys.open_generations(fed.uid)) == b"1"
    assert fed.client.exists(keys.generation(fed.uid, 0), keys.tasks(fed.uid, 0)) == 0
    fed.pool.shutdown()
    left = list(fed.client.scan_iter(keys.all_of(fed.uid)))
    assert left == [keys.open_generations(fed.uid).encode()]
    assert fed.client.get(left[0]) == b""
    assert fed.client.ttl(left[0]) > 0
