"""Where there is no luck: theta is the best candidate that there was."""

from __future__ import annotations

import numpy as np
import pytest
from nevergrad_searches import search, sphere

from search.messages import Genomes


@pytest.mark.parametrize("tool", ["CMA", "TwoPointsDE", "OnePlusOne"])
def test_theta_is_the_best_candidate_so_far_to_the_bit(tool: str) -> None:
    strategy = search(tool, 5, pop_size=6, believes_best=True)
    best, believed = -np.inf, strategy.theta
    for generation in range(12):
        asked = strategy.ask(generation)
        assert isinstance(asked, Genomes)
        fitness_c = sphere(asked.matrix_cd.astype(np.float64))
        if fitness_c.max() > best:
            best, believed = fitness_c.max(), asked.matrix_cd[fitness_c.argmax()]
        strategy.tell(generation, fitness_c[:, None])
        assert strategy.theta.tobytes() == believed.tobytes()
    resumed = search(tool, 5, pop_size=6, believes_best=True)
    resumed.restore(strategy.state())
    assert resumed.theta.tobytes() == believed.tobytes()


def test_a_failed_candidate_is_never_the_best() -> None:
    strategy = search("CMA", 5, pop_size=4, believes_best=True)
    strategy.ask(0)
    strategy.tell(0, np.array([[np.nan], [-3.0], [-2.0], [-4.0]]))
    first = strategy.theta
    asked = strategy.ask(1)
    assert isinstance(asked, Genomes)
    strategy.tell(1, np.array([[np.nan], [-9.0], [np.nan], [-8.0]]))
    assert strategy.theta.tobytes() == first.tobytes()
    assert not (asked.matrix_cd == first).all(axis=1).any()


@pytest.mark.parametrize("fitness_c", [[np.nan, -3, np.nan, np.nan], [np.nan, -3, -3, -3]])
def test_a_failed_candidate_is_not_the_best_of_equals(fitness_c: list[float]) -> None:
    strategy = search("CMA", 5, pop_size=4, believes_best=True)
    asked = strategy.ask(0)
    assert isinstance(asked, Genomes)
    strategy.tell(0, np.array(fitness_c)[:, None])
    assert strategy.theta.tobytes() == asked.matrix_cd[1].tobytes()


def test_one_that_fails_before_any_other_is_believed_by_nobody() -> None:
    strategy = search("CMA", 5, pop_size=4, believes_best=True, asynchronous=True)
    start = strategy.theta
    strategy.ask(0)
    strategy.tell(0, np.array([[np.nan]]))
    assert strategy.theta.tobytes() == start.tobytes()


def test_with_restarts_the_best_of_all_descents_stays() -> None:
    strategy = search("CMA", 3, pop_size=4, believes_best=True, restarts="ipop")
    best = -np.inf
    for generation in range(70):
        asked = strategy.ask(generation)
        assert isinstance(asked, Genomes)
        fitness_c = sphere(asked.matrix_cd.astype(np.float64)).round(1)
        best = max(best, fitness_c.max())
        figures = strategy.tell(generation, fitness_c[:, None])
        of_theta = sphere(strategy.theta[None].astype(np.float64)).round(1)[0]
        assert of_theta == best
    assert figures["search/restarts"] > 0
