"""What a relay decides and remembers: pure, so every case can be tried."""

from __future__ import annotations

import pytest
from real_relays import batch_of

from fleet.machine.worker_broker import LiveRun
from fleet.relay.appetite import Pace, num_hungry, num_wanted, split
from fleet.relay.choice import choose
from fleet.relay.in_hand import InHand, given_back
from search.messages import (
    MESSAGE_VERSION,
    RecordBatch,
    RolloutRecord,
    Task,
    decode,
)

UID, OTHER = "a" * 32, "b" * 32


def a_task(first: int, stop: int, copy: int = 1, number: int = 0) -> Task:
    return Task(MESSAGE_VERSION, UID, number, "d" * 32, first, stop, 0, copy)


def ranges(tasks: list[Task]) -> list[tuple[int, int]]:
    return [(task.first, task.stop) for task in tasks]


def answer(task: Task) -> RecordBatch:
    return decode(batch_of(task), RecordBatch)


def live(uid: str, *crew: str, silence_s: float = 0.0, ours: tuple[str, ...] = ()) -> LiveRun:
    members = frozenset(crew)
    return LiveRun(uid, silence_s, len(members.difference(ours)), members)


@pytest.mark.parametrize(
    ("hungry", "queued", "lead", "wanted"),
    [
        (0, 0, 0, 0),
        (3, 0, 0, 3),
        (3, 3, 0, 0),  # they are on their way
        (3, 1, 0, 2),
        (0, 0, 100, 100),
        (0, 50, 100, 0),  # not for every single one
        (0, 49, 100, 51),
        (8, 0, 100, 108),
        (0, 200, 100, 0),
    ],
)
def test_what_is_wanted_is_what_nobody_has_in_hand(
    hungry: int, queued: float, lead: int, wanted: int
) -> None:
    assert num_wanted(hungry, queued, lead) == wanted


def test_a_relay_that_waits_may_stand_for_many() -> None:
    assert num_hungry(2, 16, 0, has_relays=False) == 2
    assert num_hungry(2, 16, 10, has_relays=True) == 6
    assert num_hungry(2, 16, 20, has_relays=True) == 2
    assert num_hungry(0, 16, 0, has_relays=True) == 0
    assert num_hungry(-1, 16, 0, has_relays=False) == 0


def test_nothing_is_held_ahead_of_long_rollouts() -> None:
    pace = Pace()
    assert pace.lead(0.2, 0.0, 99) == 0
    for i in range(100):
        pace.answered(1, 1.5, i * 0.1)
    assert pace.lead(0.2, 10.0, 99) == 0


def test_short_rollouts_are_held_for_as_long_as_the_lead() -> None:
    pace = Pace()
    for i in range(1000):
        pace.answered(2, 0.01, i * 0.01)  # 200 a second
    assert pace.lead(0.2, 10.0, 2) == pytest.approx(40, rel=0.1)
    assert pace.lead(0.2, 12.0, 2) == 0  # and nothing when it has been quiet


def test_what_comes_in_a_heap_is_not_taken_for_speed() -> None:
    pace = Pace()
    for _ in range(50):
        pace.answered(1, 0.005, 1.0)
    assert pace.lead(0.2, 1.0, 2) == 80


def test_the_longest_ranges_are_split_until_everybody_has_one() -> None:
    tasks = [a_task(0, 10), a_task(10, 12), a_task(12, 13)]
    assert ranges(split(tasks, 3)) == [(0, 10), (10, 12), (12, 13)]
    assert ranges(split(tasks, 5)) == [(0, 3), (3, 6), (6, 10), (10, 12), (12, 13)]
    every = split(tasks, 100)
    assert ranges(every) == [(r, r + 1) for r in range(13)]
    assert {(task.copy, task.attempt) for task in every} == {(1, 0)}
    assert split([], 5) == []


def test_an_answer_ends_every_copy_and_a_loss_only_its_own() -> None:
    hand = InHand()
    hand.add(a_task(0, 3, copy=1))
    hand.add(a_task(1, 2, copy=5))
    assert len(hand) == 3
    hand.answer(answer(a_task(0, 1)))
    assert len(hand) == 2
    lost = RolloutRecord(1, 0, "lost", 1)
    hand.answer(RecordBatch(MESSAGE_VERSION, UID, 0, "d" * 32, "w", (lost,)))
    assert len(hand) == 2
    (batch,) = hand.given_back("r")
    assert {(r.rollout, r.copy, r.status) for r in batch.records} == {
        (1, 5, "returned"),
        (2, 1, "returned"),
    }
    assert len(hand) == 2
    hand.answer(batch)
    assert len(hand) == 0


def test_a_closed_generation_is_forgotten_and_another_run_too() -> None:
    hand = InHand()
    hand.add(a_task(0, 3))
    hand.add(a_task(0, 4, number=1))
    hand.close(UID, 0)
    assert len(hand) == 4
    hand.keep_only(OTHER, None)
    assert len(hand) == 0
    hand.answer(answer(a_task(0, 3)))


def test_giving_back_many_rollouts_takes_messages_of_bearable_size() -> None:
    batches = given_back([a_task(0, 12_000)], "r")
    assert [len(batch.records) for batch in batches] == [5000, 5000, 2000]


def test_a_relay_takes_the_run_with_the_fewest_workers() -> None:
    runs = [live(UID, "a", "b"), live(OTHER, "c")]
    assert choose(runs, None, (), name="r", now_s=0.0) == OTHER
    assert choose([], None, (), name="r", now_s=0.0) is None


def test_relays_that_start_together_spread_over_runs_that_are_equal() -> None:
    runs = [live(UID), live(OTHER)]
    chosen = {choose(runs, None, (), name=f"r{i}", now_s=0.0) for i in range(30)}
    assert chosen == {UID, OTHER}


def test_a_relay_stays_with_its_run_while_the_head_beats() -> None:
    ours = ("w-0", "w-1")
    runs = [live(UID, *ours, ours=ours), live(OTHER, "a", "b")]
    for now_s in range(200):
        assert choose(runs, UID, ours, name="r", now_s=now_s) == UID


def test_a_relay_leaves_a_run_whose_head_is_silent_for_one_whose_head_is_not() -> None:
    runs = [live(UID, silence_s=10.0), live(OTHER, "a", "b")]
    assert choose(runs, UID, (), name="r", now_s=0.0) == OTHER
    assert choose(runs[:1], UID, (), name="r", now_s=0.0) == UID
    assert choose([], UID, (), name="r", now_s=0.0) == UID


def test_one_of_two_machines_moves_to_a_run_that_has_none() -> None:
    machines = [tuple(f"m{m}-{i}" for i in range(8)) for m in (1, 2)]
    serving = dict.fromkeys(machines, UID)
    for now_s in range(0, 4000, 1):
        for machine in machines:
            crews = {
                uid: [w for m in machines if serving[m] == uid for w in m] for uid in (UID, OTHER)
            }
            runs = [live(uid, *crew, ours=machine) for uid, crew in crews.items()]
            serving[machine] = choose(runs, serving[machine], machine, name="r", now_s=now_s) or ""
    assert sorted(serving.values()) == [UID, OTHER]


def test_a_machine_alone_does_not_run_to_and_fro() -> None:
    machine = tuple(f"m-{i}" for i in range(8))
    runs = [live(UID, *machine, ours=machine), live(OTHER)]
    for now_s in range(1000):
        assert choose(runs, UID, machine, name="r", now_s=now_s) == UID


def test_a_run_that_no_worker_can_serve_is_the_last_choice() -> None:
    runs = [live(UID), live(OTHER, "a", "b")]
    assert choose(runs, UID, (), name="r", refused={UID}, now_s=0.0) == OTHER
    assert choose(runs[:1], UID, (), name="r", refused={UID}, now_s=0.0) == UID
    assert choose(runs[:1], None, (), name="r", refused={UID}, now_s=0.0) == UID
