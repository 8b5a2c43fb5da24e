"""IPOP and BIPOP: when CMA begins anew, with what, and that nothing found is lost by it."""

from __future__ import annotations

import numpy as np
import pytest
from nevergrad_searches import advance, candidates, pycma, search, start
from numpy.typing import NDArray

from errors import ConfigError
from nevergrad_es.nevergrad_strategy import NevergradStrategy
from nevergrad_es.restarts import Descent, first_descent, next_descent
from nevergrad_es.tools import Regime

FIRST = (10, 1000, False)
LARGE_20, LARGE_40 = (20, 2400, False), (40, 4000, False)

# Population, candidates and kind of what has ended, by which Hansen 2009 has as what comes next:
# the least and greatest population, whether it is small, and after how many candidates it ends.
BIPOP = [
    ([FIRST], (20, 20, False, np.inf)),
    ([FIRST, LARGE_20], (10, 10, True, 1200)),
    ([FIRST, LARGE_20, (10, 1200, True)], (10, 10, True, 1200)),
    ([FIRST, LARGE_20, (10, 2400, True)], (40, 40, False, np.inf)),
    ([FIRST, LARGE_20, (10, 900, True), (10, 1800, True)], (40, 40, False, np.inf)),
    ([FIRST, LARGE_20, (10, 2500, True), LARGE_40], (10, 19, True, 3200)),
    ([FIRST, LARGE_20, (10, 2500, True), LARGE_40, (13, 3000, True)], (10, 19, True, 3200)),
    ([FIRST, LARGE_20, (10, 2500, True), LARGE_40, (13, 3900, True)], (80, 80, False, np.inf)),
]


def descents(told: list[tuple[int, int, bool]]) -> list[Descent]:
    return [Descent(Regime(pop, 0.5, 0), count, small) for pop, count, small in told]


@pytest.mark.parametrize(("told", "expected"), BIPOP)
def test_bipop_spends_as_much_on_small_populations_as_on_growing_ones(
    told: list[tuple[int, int, bool]], expected: tuple[int, int, bool, float]
) -> None:
    least, most, is_small, limit = expected
    for run_seed in range(20):
        found = next_descent("bipop", descents(told), run_seed)
        assert found.is_small is is_small
        assert least <= found.regime.pop_size <= most
        assert found.candidates == 0
        assert found.most_candidates == limit
        assert 0.005 <= found.regime.sigma <= 0.5
        if not is_small:
            assert found.regime.sigma == 0.5


def test_small_populations_and_steps_are_spread_as_published() -> None:
    """Populations of 10 * 4^(u^2), first steps of sigma * 10^(-2 u)."""
    told = descents([FIRST, LARGE_20, LARGE_40, (80, 9000, False)])
    found = [next_descent("bipop", told, seed).regime for seed in range(600)]
    populations = np.array([regime.pop_size for regime in found])
    assert (populations < 10 * 4 ** (0.5**2)).mean() == pytest.approx(0.5, abs=0.06)
    assert populations.min() == 10
    assert 36 <= populations.max() < 40
    exponents = np.log10([regime.sigma / 0.5 for regime in found])
    assert np.quantile(exponents, [0.25, 0.5, 0.75]) == pytest.approx([-1.5, -1.0, -0.5], abs=0.12)


def test_ipop_doubles_and_draws_afresh() -> None:
    told = [first_descent(10, 0.5, run_seed=3)]
    for _ in range(4):
        told.append(next_descent("ipop", told, 3))
    assert [descent.regime.pop_size for descent in told] == [10, 20, 40, 80, 160]
    assert {descent.regime.sigma for descent in told} == {0.5}
    seeds = [descent.regime.seed for descent in told]
    assert len(set(seeds)) == 5
    assert next_descent("ipop", told[:2], 3).regime.seed == seeds[2]
    assert next_descent("ipop", told[:2], 4).regime.seed != seeds[2]


def rastrigin(matrix_cd: NDArray[np.float64]) -> NDArray[np.float64]:
    """A basin at every whole number, the best one at 0."""
    waves = 10 - 10 * np.cos(2 * np.pi * matrix_cd)
    return -(np.square(matrix_cd) + waves).sum(axis=1)


def among_basins(restarts: str, run_seed: int) -> NevergradStrategy:
    return search(
        theta0=np.array([2.2, -1.8], dtype=np.float32),
        pop_size=6,
        sigma=0.2,
        restarts=restarts,
        run_seed=run_seed,
    )


def of_theta(strategy: NevergradStrategy) -> float:
    return float(rastrigin(strategy.theta[None].astype(np.float64))[0])


@pytest.mark.parametrize(("restarts", "run_seed"), [("ipop", 1), ("bipop", 2)])
def test_a_restart_never_costs_what_was_found(restarts: str, run_seed: int) -> None:
    es = among_basins(restarts, run_seed)
    num_restarts, kept, populations = 0, -np.inf, [6]
    for generation in range(130):
        matrix = candidates(es, generation)
        figures = es.tell(generation, rastrigin(matrix)[:, None])
        populations.append(len(matrix))
        if figures["search/restarts"] > num_restarts:
            num_restarts = int(figures["search/restarts"])
            kept = max(kept, of_theta(es))
        assert of_theta(es) >= kept - 1e-9
    assert num_restarts >= 2
    assert max(populations) >= 12
    first_large = populations.index(12)
    assert set(populations[:first_large]) == {6}
    if restarts == "ipop":
        assert populations == sorted(populations)


def test_a_short_descent_ends_at_its_limit() -> None:
    es = among_basins("bipop", 1)
    told, generation = [0], 0
    while len(told) < 4:
        matrix = candidates(es, generation)
        figures = es.tell(generation, rastrigin(matrix)[:, None])
        told[-1] += len(matrix)
        told += [0] * (int(figures["search/restarts"]) + 1 - len(told))
        generation += 1
    _, large, small, _ = told
    assert large / 2 <= small < large / 2 + 6  # where that ends depends on the population


def test_without_restarts_the_same_search_stays_where_it_is() -> None:
    es = among_basins("none", 1)
    first = pycma(es)
    advance(es, 0, 120, rastrigin)
    assert type(first).stop(first)
    assert pycma(es) is first
    assert "search/restarts" not in es.tell(120, rastrigin(candidates(es, 120))[:, None])


def test_each_descent_begins_at_the_first_theta_and_the_best_one_is_recommended() -> None:
    es = among_basins("ipop", 1)
    generation, num_restarts = 0, 0.0
    while not num_restarts:
        fitness = rastrigin(candidates(es, generation))
        num_restarts = es.tell(generation, fitness[:, None])["search/restarts"]
        generation += 1
    found = es.theta
    assert found == pytest.approx([1.98991, -1.98991], abs=1e-4)  # the bottom of a basin
    again = candidates(es, generation)
    assert len(again) == 12
    assert np.abs(again.mean(axis=0) - [2.2, -1.8]).max() < 0.3
    es.tell(generation, rastrigin(again)[:, None])
    assert np.array_equal(es.theta, found)  # which the first steps of another descent do not beat


@pytest.mark.parametrize(
    ("changed", "whose"),
    [({"tool": "DE"}, "tool=DE"), ({"asynchronous": True}, "asynchronous=True")],
)
def test_restarts_of_anything_else_are_refused(changed: dict[str, object], whose: str) -> None:
    with pytest.raises(
        ConfigError, match=f"restarts=ipop is for CMA by generations, not for {whose}"
    ):
        search(restarts="ipop", **changed)


def test_the_figures_tell_of_the_step_in_the_units_of_theta() -> None:
    es = search(num_parameters=5, sigma=0.25, bounds=(-30.0, 30.0), pop_size=30)
    es.ask(0)
    figures = es.tell(0, np.linspace(0, 1, 30)[:, None])
    spread = (candidates(es, 1) - es.theta).std()
    assert figures["search/step_size"] == pytest.approx(spread, rel=0.3)
    moved = np.linalg.norm(es.theta - start(5)) / np.linalg.norm(es.theta)
    assert figures["update/ratio"] == pytest.approx(moved, rel=1e-5)
    assert figures["search/axis_ratio"] >= 1
