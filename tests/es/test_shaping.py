"""Shaping: ties push nothing, order means nothing, failures pay nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ConfigError
from es.shaping import (
    SHAPINGS,
    centered_ranks,
    raw,
    shaping_by_name,
    z_score,
)

anything = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=50)
few_values = st.lists(st.sampled_from([-1.0, 0.0, -0.0, 0.1, 5.0]), min_size=2, max_size=50)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_ranks_of_distinct_fitness_are_evenly_spread() -> None:
    assert centered_ranks(array(3, 100, -7, 4, 5)).tolist() == [-0.25, 0.5, -0.5, 0, 0.25]


def test_equal_fitness_shares_its_average_rank() -> None:
    assert centered_ranks(array(1, 2, 2, 2, 9)).tolist() == [-0.5, 0, 0, 0, 0.5]
    assert centered_ranks(array(0.0, -0.0, 1)).tolist() == [-0.25, -0.25, 0.5]


@pytest.mark.parametrize("name", ["centered_ranks", "z_score"])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e300, 5e-324])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_all_equal_gives_exactly_zero(name: str, value: float, count: int) -> None:
    assert not SHAPINGS[name](np.full(count, value)).any()


@given(anything | few_values)
def test_ranks_lie_within_a_half_and_cancel(values: list[float]) -> None:
    weights = centered_ranks(array(*values))
    assert np.abs(weights).max() <= 0.5
    assert abs(weights.sum()) < 1e-12


@given(anything | few_values)
def test_ranks_keep_the_order_and_mirror_with_the_sign(values: list[float]) -> None:
    fitness = array(*values)
    weights = centered_ranks(fitness)
    assert np.array_equal(np.sign(np.subtract.outer(weights, weights)), order(fitness))
    assert np.array_equal(centered_ranks(-fitness), -weights)


def order(values: np.ndarray) -> np.ndarray:
    rows, columns = np.meshgrid(values, values, indexing="ij")
    signs: np.ndarray = (rows > columns).astype(float) - (rows < columns)
    return signs


@given(anything | few_values)
def test_z_scores_have_mean_zero_and_deviation_one(values: list[float]) -> None:
    fitness = array(*values)
    scores = z_score(fitness)
    if fitness.min() < fitness.max():
        assert abs(scores.mean()) < 1e-6
        assert abs(scores.std() - 1) < 1e-6
    else:
        assert not scores.any()


@given(anything | few_values, st.randoms(use_true_random=False))
@pytest.mark.parametrize("name", sorted(SHAPINGS))
def test_a_weight_depends_on_the_fitness_and_not_on_its_place(
    name: str, values: list[float], random: object
) -> None:
    fitness = array(*values)
    places = np.arange(len(values))
    random.shuffle(places)  # type: ignore[attr-defined]
    assert np.array_equal(SHAPINGS[name](fitness[places]), SHAPINGS[name](fitness)[places])


def test_raw_is_a_copy_of_the_fitness() -> None:
    fitness = array(1, 2)
    weights = raw(fitness)
    assert weights.tolist() == [1, 2]
    assert not np.shares_memory(weights, fitness)


def test_the_numbers_are_the_ones_of_every_release() -> None:
    ranks = centered_ranks(array(1, 3, 3, 10, -2, 0.5))
    assert ranks.tolist() == [-0.1, 0.2, 0.2, 0.5, -0.5, -0.3]
    scores = z_score(array(2, 4, 4, 4, 5, 5, 7, 9))
    assert scores.tolist() == [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]


def test_an_unknown_shaping_names_the_close_one() -> None:
    assert shaping_by_name("z_score") is z_score
    with pytest.raises(ConfigError, match="did you mean centered_ranks"):
        shaping_by_name("centred_ranks")
