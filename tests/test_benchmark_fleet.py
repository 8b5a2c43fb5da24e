"""The benchmark of the fleet: its ideal schedule by hand, and that each small part runs."""

from __future__ import annotations

import numpy as np
import pytest
from fleet_scale import Figure, latency, records, traffic
from one_head.schedule import (
    Durations,
    Stay,
    arrival_order,
    busy_share,
    close_early,
    list_schedule,
    steady_span_s,
)


def seconds(*generations: list[float]) -> list[np.ndarray]:
    return [np.array(durations) for durations in generations]


def test_the_next_rollout_goes_to_whoever_is_free_first() -> None:
    schedule = list_schedule(seconds([3, 1, 1, 1]), [1.0, 1.0], 0, [[0, 1]])
    assert schedule.told_s == [3.0]
    assert [stay.worker for stay in schedule.stays] == [0, 1, 1, 1]
    assert busy_share(schedule.stays, 2, 0.0, 3.0) == 1.0


def test_a_worker_half_as_fast_takes_twice_as_long() -> None:
    schedule = list_schedule(seconds([2, 2, 2]), [1.0, 2.0], 0, [[1, 0]])
    assert [(stay.worker, stay.stop_s) for stay in schedule.stays] == [(1, 4), (0, 2), (0, 4)]


@pytest.mark.parametrize(
    ("overlap", "told_s", "busy"),
    # Without overlap the second worker idles 3 s of the first 4; with one it takes what follows,
    # until generation 2 waits for generation 0 to be told at 4 s.
    [(0, [4, 5, 6], 8 / 12), (1, [4, 4, 5], 8 / 10)],
)
def test_overlap_lets_workers_go_on_until_the_rule_stops_them(
    overlap: int, told_s: list[float], busy: float
) -> None:
    durations_gr = seconds([4, 1], [1, 1], [1])
    schedule = list_schedule(durations_gr, [1.0, 1.0], overlap, [[0, 1]] * 3)
    assert schedule.told_s == told_s
    assert busy_share(schedule.stays, 2, 0.0, told_s[-1]) == pytest.approx(busy)


def test_whoever_came_first_in_the_real_fleet_comes_first_in_the_ideal_one() -> None:
    real = [Stay(2, 0, 1, 0.1, 1), Stay(0, 0, 0, 0.3, 1), Stay(2, 0, 2, 3, 4), Stay(2, 1, 0, 5, 6)]
    assert arrival_order(real, 2, 3) == [[0, 2, 1], [2, 0, 1]]
    schedule = list_schedule(seconds([1, 1]), [1.0] * 3, 0, [[0, 2, 1]])
    assert [stay.worker for stay in schedule.stays] == [0, 2]


def test_an_ideal_fleet_is_never_faster_than_its_work() -> None:
    durations = Durations(seed=3)
    durations_gr = [durations.of_generation(g, 40) for g in range(6)]
    order = list(range(7))
    for overlap in range(3):
        schedule = list_schedule(durations_gr, [1.0] * 7, overlap, [order] * 6)
        whole_s = schedule.told_s[-1]
        assert whole_s >= sum(map(np.sum, durations_gr)) / 7
        assert len(schedule.stays) == 6 * 40
        assert 0.5 < busy_share(schedule.stays, 7, 0.0, whole_s) <= 1.0


def test_busy_time_counts_only_within_the_span_looked_at() -> None:
    stays = [Stay(0, 0, 0, 0.0, 4.0), Stay(1, 0, 1, 3.0, 9.0)]
    assert busy_share(stays, 2, 2.0, 4.0) == pytest.approx((2 + 1) / 4)


def test_the_steady_span_ends_where_nothing_is_left_to_release() -> None:
    told_s = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert steady_span_s(told_s, 0) == (1.0, 4.0)
    assert steady_span_s(told_s, 1) == (1.0, 3.0)


def test_a_hasty_head_discards_the_long_rollouts() -> None:
    durations_r = np.array([1.0, 2.0, 3.0, 10.0])
    stays = [Stay(r, 0, r, 0.0, durations_r[r]) for r in range(4)]
    hasty = close_early(stays, durations_r, 3)
    assert hasty.time_saved == pytest.approx(0.7)
    assert (hasty.kept_mean_s, hasty.discarded_mean_s) == (2.0, 10.0)
    assert hasty.longest_discarded == 1.0


def test_durations_lie_where_they_are_said_to_and_are_the_same_each_time() -> None:
    durations = Durations()
    drawn = durations.of_generation(5, 4000)
    assert drawn.min() >= 1
    assert drawn.max() <= 10
    assert np.median(drawn) == pytest.approx(durations.median_s, rel=0.05)
    assert (drawn == durations.of_generation(5, 4000)).all()
    assert (drawn != durations.of_generation(6, 4000)).any()


def by_name(figures: list[Figure]) -> dict[str, float]:
    assert all(np.isfinite(figure.value) for figure in figures)
    return {figure.what: figure.value for figure in figures}


def test_workers_that_answer_at_once_are_heard_through_relays() -> None:
    found = by_name(list(records(quick=True)))
    assert found["2 x 2 through relays: records"] > 0
    assert 0 < found["2 x 2 through relays: head, share of a core"] < 200
    assert found["2 x 2 through relays: records in a worker's batch, mean"] >= 1


def test_theta_leaves_the_heads_redis_about_once_a_machine() -> None:
    found = by_name(list(traffic(quick=True)))
    theta = found["  of which theta, once a machine"]
    assert theta == pytest.approx(0.02)
    assert theta < found["sent to relays a generation"] < 20 * theta


def test_the_way_from_the_last_record_to_the_next_step_adds_up() -> None:
    figures = list(latency(quick=True))
    found = by_name(figures)
    worst = {name: value for name, value in found.items() if "worst" in name}
    whole = found["last record to next step, worst of 5"]
    assert 0 < whole <= sum(worst.values()) - whole + 0.01
