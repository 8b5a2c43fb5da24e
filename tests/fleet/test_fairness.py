"""Several runs on one Redis get about as many workers each, without all moving at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.machine.fairness import fairer_run
from fleet.machine.worker_broker import LiveRun


def seen_by(worker: str, crews: dict[str, set[str]]) -> list[LiveRun]:
    return [LiveRun(uid, 0.0, len(crew - {worker}), frozenset(crew)) for uid, crew in crews.items()]


def settle(crews: dict[str, set[str]], stubborn: set[str], seed: int) -> int:
    """Let workers look one after the other until nobody moves; how many moves that took."""
    draw = random.Random(seed)
    moves, now_s = 0, 0.0
    for _ in range(50):
        home = {worker: uid for uid, crew in crews.items() for worker in crew}
        looking = sorted(set(home) - stubborn)
        draw.shuffle(looking)
        moved = 0
        for worker in looking:
            runs = {run.uid: run for run in seen_by(worker, crews)}
            ours = runs.pop(home[worker])
            to = fairer_run(worker, ours, list(runs.values()), now_s)
            if to is not None:
                crews[ours.uid].remove(worker)
                crews[to.uid].add(worker)
                moved += 1
        moves += moved
        now_s += 2.0
        if not moved and now_s > 60:
            break
    return moves


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 1000))
def test_runs_end_up_with_as_many_workers_each(sizes: list[int], seed: int) -> None:
    crews = {f"run{i}": {f"w{i}-{n}" for n in range(size)} for i, size in enumerate(sizes)}
    settle(crews, set(), seed)
    counts = [len(crew) for crew in crews.values()]
    assert max(counts) - min(counts) <= 1


def test_no_more_workers_move_than_have_to() -> None:
    crews = {"a": {f"w{n}" for n in range(20)}, "b": set[str]()}
    assert settle(crews, set(), 1) == 10


def test_workers_that_cannot_move_do_not_keep_others_from_it() -> None:
    behind_a_relay = {f"relay-{n}" for n in range(8)}
    crews = {"a": {*behind_a_relay, "w0", "w1", "w2"}, "b": set[str]()}
    settle(crews, behind_a_relay, 2)
    assert crews["b"] == {"w0", "w1", "w2"}


@pytest.mark.parametrize("others", [[], [LiveRun("b", 0.0, 1, frozenset({"v"}))]])
def test_a_worker_stays_where_moving_evens_nothing_out(others: list[LiveRun]) -> None:
    ours = LiveRun("a", 0.0, 1, frozenset({"w", "u"}))
    assert all(fairer_run("w", ours, others, now_s) is None for now_s in range(0, 100, 8))
