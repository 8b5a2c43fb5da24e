"""A rollout that went down with its machine is handed out again long before it is overdue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fed_by_hand import TIMEOUT_S, FedByHand, fed_by_hand

from fleet import heartbeat
from fleet.head.claims import DROPPED_S, Claims
from fleet.heartbeat import Claim, Heartbeat, WorkerBeat
from fleet.server.redis_server import RedisServer
from search.messages import Task

DIGEST = "d" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def fed(server: RedisServer) -> Iterator[FedByHand]:
    with fed_by_hand(server) as fed:
        yield fed


def machine(first: int, stop: int, digest: str = DIGEST) -> Heartbeat:
    worker = WorkerBeat("m-0", True, claim=Claim(digest, first, stop))
    return Heartbeat("m", "m", "code", (worker,))


def claim_of(task: Task) -> Claim:
    return Claim(task.digest, task.first, task.stop)


def test_what_is_claimed_is_dropped_once_the_claim_is_not_repeated() -> None:
    claims = Claims(DIGEST, 4)
    claims.hear([machine(0, 2)], 0.0)
    claims.hear([machine(1, 2)], DROPPED_S)
    assert claims.dropped(DROPPED_S) == []
    assert claims.dropped(DROPPED_S + 0.1) == [0]
    assert claims.dropped(DROPPED_S + 0.1) == []


def test_claims_of_other_generations_and_of_rollouts_that_do_not_exist_mean_nothing() -> None:
    claims = Claims(DIGEST, 4)
    claims.hear([machine(0, 4, "e" * 32), machine(3, 2**53)], 0.0)
    assert claims.dropped(1e9) == [3]


def test_silence_while_nobody_could_be_heard_drops_nothing() -> None:
    claims = Claims(DIGEST, 4)
    claims.hear([machine(0, 1)], 0.0)
    claims.excuse(100.0)
    assert claims.dropped(100.0 + DROPPED_S) == []


def test_a_vanished_machines_rollouts_are_handed_out_again_within_seconds(fed: FedByHand) -> None:
    generation = fed.open(0)
    lost, *rest = fed.take_all()
    for task in rest:
        fed.answer(generation, task)
    fed.beat("gone", claim=claim_of(lost))
    fed.tick()
    heartbeat.retract(fed.client, "gone")
    fed.tick(DROPPED_S - 1)
    assert fed.queued() == []
    fed.tick(2)
    again = fed.take()
    assert again is not None
    assert (again.first, again.stop, again.attempt) == (lost.first, lost.stop, lost.attempt)
    assert fed.now_s < TIMEOUT_S / 5


def test_a_rollout_that_is_still_in_hand_is_left_alone(fed: FedByHand) -> None:
    generation = fed.open(0)
    slow, *rest = fed.take_all()
    for task in rest:
        fed.answer(generation, task)
    for _ in range(10):
        fed.beat("slow", claim=claim_of(slow))
        fed.tick(DROPPED_S)
    assert fed.pool.status().reissued == 0


def test_what_died_with_its_taker_before_a_word_of_it_is_handed_out_again(fed: FedByHand) -> None:
    generation = fed.open(0)
    lost, busy, *rest = fed.take_all()
    for task in rest:
        fed.answer(generation, task)
    for _ in range(4):
        fed.beat("busy", claim=claim_of(busy))
        fed.tick(DROPPED_S / 2)
    again = fed.take()
    assert again is not None
    assert (again.first, again.stop) == (lost.first, lost.stop)
    assert fed.take() is None


def test_machines_that_claim_nothing_at_all_are_given_their_time(fed: FedByHand) -> None:
    generation = fed.open(0)
    _, *rest = fed.take_all()
    for task in rest:
        fed.answer(generation, task)
    for _ in range(4):
        fed.beat("mute")
        fed.tick(DROPPED_S)
    assert fed.queued() == []
