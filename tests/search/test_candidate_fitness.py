"""From episodes to candidates: order means nothing, failures pay nothing."""

from __future__ import annotations

import numpy as np
import pytest

from errors import RunAborted
from search.candidate_fitness import candidate_fitness


def test_fitness_is_the_mean_over_episodes() -> None:
    assert candidate_fitness(np.array([[1.0, 2.0], [5.0, -5.0]])).tolist() == [1.5, 0.0]


def test_a_failed_episode_counts_as_the_worst_of_the_generation() -> None:
    fitness_ce = np.array([[4.0, np.nan], [np.nan, np.nan], [2.0, -6.0]])
    assert candidate_fitness(fitness_ce).tolist() == [-1.0, -6.0, -2.0]
    assert np.isnan(fitness_ce[0, 1])


def test_the_mean_does_not_depend_on_how_the_matrix_lies_in_memory() -> None:
    fitness_ce = np.random.default_rng(0).standard_normal((7, 33)) * 1e3
    expected = candidate_fitness(fitness_ce)
    assert np.array_equal(candidate_fitness(np.asfortranarray(fitness_ce)), expected)
    assert np.array_equal(candidate_fitness(fitness_ce[::-1])[::-1], expected)


def test_a_generation_without_finite_fitness_ends_the_run() -> None:
    with pytest.raises(RunAborted, match="no rollout"):
        candidate_fitness(np.full((4, 2), np.nan))


def test_episodes_that_add_up_to_infinity_end_the_run() -> None:
    with pytest.raises(RunAborted, match=r"as large as 1\.7e\+308"):
        candidate_fitness(np.array([[1.7e308, 1.7e308], [0.0, -1.7e308]]))
