"""What grows with what: the arithmetic by hand, and that a small head is measured as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from growth import head
from one_head.diary import STEPS, Traffic
from scaling import PAGE, filled, limits_table
from what_grows.figures import (
    FIGURES,
    Beats,
    Connections,
    Growth,
    Head,
    Memory,
    Relaying,
    Steps,
    load,
    save,
)
from what_grows.plot import draw
from what_grows.scaling_model import LINE_BYTES_PER_S, Costs, costs_of, plan
from what_grows.tables import seconds, size, table

FREE = Costs(*[0] * len(Costs._fields))._replace(relay_connections=3, head_connections=5)


def head_that_took(num_parameters: int, pop_size: int, **took_s: float) -> Head:
    spent = {**dict.fromkeys((*STEPS, "rest"), 0.0), **took_s}
    traffic = Traffic(from_head=4 * num_parameters, to_others=4 * num_parameters)
    return Head(num_parameters, pop_size, True, 1, spent, spent, 0.0, traffic, 0.0, 0, 0.0)


def everything() -> Growth:
    return Growth(
        steps=[Steps(1, [1.0, 3.0, 2.0]), Steps(2, [4.0, 5.0, 6.0])],
        dimensions=[
            head_that_took(100, 10, publish=0.01),
            head_that_took(10_000, 10, publish=0.03, tell=1e-9 * 5 * 10_000),
        ],
        populations=[
            head_that_took(1000, 10, publish=0.01, collect=1e-3),
            head_that_took(1000, 1010, publish=0.02, collect=0.101, tell=1e-9 * 505 * 1000),
        ],
        beats=[Beats(10, 20_000, 1e-3, 1e-4)],
        memory=[Memory("head", 100.0, 150.0)],
        relaying=Relaying(0.01, 0.001, 1e-4),
        connections=Connections(5, 3, 1, 1),
    )


def test_the_slope_of_each_series_is_what_a_unit_costs() -> None:
    costs = costs_of(everything())
    assert costs.fixed_s == pytest.approx(0.01)
    assert costs.rollout_serial_s == pytest.approx(1e-5)
    assert costs.value_s == pytest.approx(1e-9)
    assert costs.parameter_s == pytest.approx(0.02 / 10_000)
    assert costs.collect_s == pytest.approx(1e-4)
    assert costs.beat_s == pytest.approx(1e-4)


def test_workers_idle_while_the_head_learns_and_theta_travels() -> None:
    one = plan(FREE._replace(fixed_s=1.0, value_s=1e-8), 1000, 10.0, 1_000_000)
    assert (one.machines, one.top_relays, one.population) == (125, 125, 2000)
    learning_s = 1e-8 * 1000 * 1_000_000
    assert one.gap_s == pytest.approx(1.0 + learning_s + 125 * 4e6 / LINE_BYTES_PER_S)
    assert one.idle == pytest.approx(one.gap_s / (20.0 + one.gap_s))


def test_beyond_a_thousand_machines_a_hundred_share_a_relay_at_the_head() -> None:
    one = plan(FREE, 100_000, 10.0, 1000)
    assert (one.machines, one.top_relays) == (12_500, 125)
    assert one.connections == 5 + 3 * 125
    assert one.gap_s == pytest.approx(225 * 4000 / LINE_BYTES_PER_S)


def test_a_head_is_full_when_records_come_as_fast_as_it_takes_them() -> None:
    costs = FREE._replace(collect_s=1e-3)
    assert plan(costs, 10_000, 10.0, 1).head == pytest.approx(1.0, rel=1e-3)
    all_but_free = FREE._replace(
        collect_s=1e-3, redis_rollout_s=1.0, relay_rollout_s=1.0, beat_s=1.0
    )
    assert "1,000 rollouts/s" in "".join(limits_table(all_but_free))


def test_the_page_has_the_tables_of_the_figures() -> None:
    growth = load(FIGURES)
    if not growth.is_complete:
        pytest.skip(
            "no complete benchmarks/what_grows/growth.json: python benchmarks/growth.py all"
        )
    page = PAGE.read_text()
    assert filled(page, costs_of(growth)) == page


def test_nothing_is_computed_from_half_of_the_figures() -> None:
    with pytest.raises(SystemExit, match="measure first"):
        costs_of(Growth(dimensions=everything().dimensions))


def test_figures_come_back_as_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    save(path, everything())
    assert load(path) == everything()
    assert load(tmp_path / "none.json") == Growth()


def test_tables_and_picture_are_made_of_whatever_has_been_measured(tmp_path: Path) -> None:
    for growth in (everything(), Growth(steps=everything().steps), Growth()):
        draw(growth, tmp_path / "growth.png")
        assert (tmp_path / "growth.png").stat().st_size > 10_000
        assert "nan" not in table(growth)
    assert "| steps/s, median | 2 | 5 |" in table(everything())


@pytest.mark.parametrize(
    ("value", "shown"), [(2e-6, "2.0 us"), (0.0123, "12 ms"), (0.9999, "1.0 s"), (0, "0.0 us")]
)
def test_seconds_are_shown_in_the_unit_that_suits(value: float, shown: str) -> None:
    assert seconds(value) == shown


def test_bytes_are_shown_in_the_unit_that_suits() -> None:
    assert [size(one) for one in (12, 4000, 4e7)] == ["12 B", "4.0 kB", "40 MB"]


def test_a_heads_bytes_are_those_of_theta_and_records() -> None:
    found = head(10_000, 20, workers=1, single=True, generations=3)
    assert set(found.cpu_s) == {*STEPS, "rest"}
    # Once a generation, not once a rollout, with what a second of messages comes to beside it.
    assert 40_000 < found.traffic.from_head < 120_000
    assert 40_000 < found.traffic.to_others < 120_000
    assert 20 * 20 < found.journal_bytes < 40_000
    # Theta, the optimiser's two moments, and no generation open just then.
    assert 3 * 40_000 <= found.snapshot_bytes < 4 * 40_000 + 10_000
    assert 0 < found.busy_s < 60
