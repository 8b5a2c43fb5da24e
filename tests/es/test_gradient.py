"""The gradient estimate: exact where it can be, and the same bits everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import es.gradient
from es.gradient import estimate_gradient


def mirrored_fitness(theta: np.ndarray, rows: np.ndarray, sigma: float) -> np.ndarray:
    """f(x) = -|x|^2 of each pair's two candidates, in the order of candidates."""
    both = np.stack([theta + sigma * rows, theta - sigma * rows], axis=1)
    fitness_c: np.ndarray = -(both.reshape(-1, len(theta)) ** 2).sum(axis=1)
    return fitness_c


@pytest.mark.parametrize("size", [4, 16, 64])
def test_for_a_sphere_and_orthogonal_rows_the_gradient_is_exactly_minus_two_theta(
    size: int,
) -> None:
    theta = np.random.default_rng(0).integers(-64, 64, size) / 8
    rows = np.sqrt(size) * np.eye(size)
    gradient = estimate_gradient(
        rows.astype(np.float32).ravel(),
        np.arange(size, dtype=np.int64) * size,
        mirrored_fitness(theta, rows, 0.25),
        0.25,
        size,
    )
    assert gradient.dtype == np.float32
    assert gradient.tolist() == (-2 * theta).tolist()


def problem(size: int = 1000, pairs: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.Generator(np.random.Philox(5))
    values = random.standard_normal(10 * size, dtype=np.float32)
    indices = random.integers(0, 9 * size, pairs)
    return values, indices, random.standard_normal(2 * pairs)


def test_it_equals_the_sum_written_out() -> None:
    values, indices, fitness = problem()
    expected = np.zeros(1000)
    for pair, index in enumerate(indices):
        row = values[index : index + 1000].astype(np.float64)
        expected += (fitness[2 * pair] - fitness[2 * pair + 1]) * row
    expected /= 2 * len(indices) * 0.1
    assert estimate_gradient(values, indices, fitness, 0.1, 1000) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )


def test_the_bits_do_not_depend_on_where_the_table_lies_in_memory() -> None:
    values, indices, fitness = problem()
    expected = estimate_gradient(values, indices, fitness, 0.1, 1000)
    for shift_bytes in range(0, 64, 4):
        room = np.empty(values.nbytes + 128, dtype=np.uint8)
        start = -room.ctypes.data % 64 + shift_bytes
        copy = room[start : start + values.nbytes].view(np.float32)
        copy[:] = values
        assert np.array_equal(estimate_gradient(copy, indices, fitness, 0.1, 1000), expected)


@pytest.mark.parametrize("block", [1, 7, 64, 999, 1000, 4096])
def test_the_bits_do_not_depend_on_the_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, indices, fitness = problem()
    expected = estimate_gradient(values, indices, fitness, 0.1, 1000)
    monkeypatch.setattr(es.gradient, "BLOCK", block)
    assert np.array_equal(estimate_gradient(values, indices, fitness, 0.1, 1000), expected)


def test_rows_are_added_in_their_order() -> None:
    values = np.array([1e8, 1, -1e8], dtype=np.float32)
    fitness = np.array([1.0, 0.0] * 3)
    in_order = estimate_gradient(values, np.array([0, 1, 2]), fitness, 1 / 6, 1)
    big_ones_first = estimate_gradient(values, np.array([0, 2, 1]), fitness, 1 / 6, 1)
    assert (in_order[0], big_ones_first[0]) == (0, 1)


def test_equal_fitness_gives_exactly_zero() -> None:
    values, indices, _ = problem()
    assert not estimate_gradient(values, indices, np.full(40, 0.3), 0.1, 1000).any()


def test_the_bits_are_the_ones_of_every_release_and_processor() -> None:
    values = (np.arange(5000) % 97 / 97 - 0.5).astype(np.float32)
    indices = np.array([0, 1234, 17, 3999])
    fitness = np.array([0.5, -0.3, 0.1, 0.7, -0.9, 0.2, 0.0, 0.4])
    gradient = estimate_gradient(values, indices, fitness, 0.02, 1000)
    assert hashlib.sha256(gradient.tobytes()).hexdigest()[:16] == "d4e6feb6f642bb36"


def test_what_does_not_fit_is_refused() -> None:
    values, indices, fitness = problem()
    with pytest.raises(ValueError, match="20 pairs"):
        estimate_gradient(values, indices, fitness[:-1], 0.1, 1000)
    for outside in (-1, 9001):
        with pytest.raises(ValueError, match="does not lie"):
            estimate_gradient(values, np.array([outside]), fitness[:2], 0.1, 1000)
