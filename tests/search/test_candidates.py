"""Candidates: the same bits wherever they are computed, and nothing outside the table."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import MessageError
from search.candidates import write_candidate
from search.messages import Genomes, Perturbations
from search.noise import NoiseTable, open_table

D = 5
LENGTH = 1000
THETA = np.array([0.1, -2.0, 3e-8, 0.0, 1e6], dtype=np.float32)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoiseTable]:
    folder: Path = tmp_path_factory.mktemp("noise")
    with open_table(3, LENGTH, folder) as table:
        yield table


def perturbations(*indices: int, theta: np.ndarray = THETA, sigma: float = 0.1) -> Perturbations:
    return Perturbations.of(theta, sigma, np.array(indices, dtype=np.int64))


def candidate(candidates: Perturbations | Genomes, c: int, noise: NoiseTable | None) -> np.ndarray:
    out = np.full(D, np.nan, dtype=np.float32)
    write_candidate(candidates, c, noise, out)
    return out


def test_a_pair_is_mirrored_around_theta(noise: NoiseTable) -> None:
    pairs = perturbations(17, 400)
    step = np.float32(0.1) * noise.values[400:405]
    assert np.array_equal(candidate(pairs, 2, noise), THETA + step)
    assert np.array_equal(candidate(pairs, 3, noise), THETA - step)


def test_each_parameter_may_have_a_sigma_of_its_own(noise: NoiseTable) -> None:
    sigma = np.array([1, 0.5, 0, 3, 1e-7], dtype=np.float32)
    pairs = Perturbations.of(THETA, sigma, np.array([17, 400], dtype=np.int64))
    assert np.array_equal(candidate(pairs, 2, noise), THETA + sigma * noise.values[400:405])
    assert np.array_equal(candidate(pairs, 3, noise), THETA - sigma * noise.values[400:405])


def test_the_candidate_after_the_last_is_theta(noise: NoiseTable) -> None:
    assert np.array_equal(candidate(perturbations(17, 400), 4, noise), THETA)
    genomes = Genomes.of(THETA, np.zeros((3, D), dtype=np.float32))
    assert np.array_equal(candidate(genomes, 3, None), THETA)


def test_genomes_are_taken_as_they_are() -> None:
    matrix = np.arange(15, dtype=np.float32).reshape(3, D)
    assert np.array_equal(candidate(Genomes.of(THETA, matrix), 1, None), matrix[1])


@given(
    index=st.integers(0, LENGTH - D),
    sigma=st.floats(1e-6, 1e3),
    theta=st.lists(st.floats(-1e6, 1e6, width=32), min_size=D, max_size=D),
)
def test_every_operation_rounds_once(
    noise: NoiseTable, index: int, sigma: float, theta: list[float]
) -> None:
    pairs = perturbations(index, theta=np.array(theta, dtype=np.float32), sigma=sigma)
    plus, minus = candidate(pairs, 0, noise), candidate(pairs, 1, noise)
    for d in range(D):
        step = np.float32(float(np.float32(sigma)) * float(noise.values[index + d]))
        # A float64 holds the product and the sum of two float32 well enough to round them once.
        assert plus[d] == np.float32(float(np.float32(theta[d])) + float(step))
        assert minus[d] == np.float32(float(np.float32(theta[d])) - float(step))


def test_the_last_row_of_the_table_can_be_used(noise: NoiseTable) -> None:
    assert np.isfinite(candidate(perturbations(LENGTH - D), 0, noise)).all()


@pytest.mark.parametrize("index", [-1, LENGTH - D + 1, 2**62, -(2**63)])
def test_a_noise_index_outside_the_table_is_refused(noise: NoiseTable, index: int) -> None:
    with pytest.raises(MessageError, match="does not lie in a table of 1000"):
        candidate(perturbations(index), 0, noise)


@pytest.mark.parametrize("c", [-1, 3, 1000])
def test_a_candidate_that_does_not_exist_is_refused(noise: NoiseTable, c: int) -> None:
    with pytest.raises(MessageError, match="does not exist"):
        candidate(perturbations(0), c, noise)


def test_perturbations_without_a_table_are_refused() -> None:
    with pytest.raises(MessageError, match="no noise table"):
        candidate(perturbations(0), 0, None)


def test_vectors_of_another_policy_are_refused(noise: NoiseTable) -> None:
    for out in (np.empty(D + 1, dtype=np.float32), np.empty(D, dtype=np.float64)):
        with pytest.raises(MessageError, match="the policy here"):
            write_candidate(perturbations(0), 0, noise, out)  # type: ignore[arg-type]


def test_no_vector_is_allocated(tmp_path: Path) -> None:
    size = 100_000
    out = np.empty(size, dtype=np.float32)
    theta = np.zeros(size, dtype=np.float32)
    with open_table(3, size, tmp_path) as table:
        pairs = perturbations(0, theta=theta)
        tracemalloc.start()
        write_candidate(pairs, 1, table, out)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < size
