"""A sigma for each parameter: grows where long steps pay, shrinks where they harm."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from errors import ConfigError, RunAborted
from es.gradient import estimate_log_sigma_gradient
from es.openai_es import OpenAIES
from es.step_sizes import MOST_CHANGE, adapted
from search.candidates import write_candidate
from search.noise import NoiseTable

D, C = 6, 40
THETA0 = np.ones(D, dtype=np.float32)
STEEPNESS = np.array([1, 1, 1, 1, 1000, 1000], dtype=np.float32)


def strategy(noise: NoiseTable, **changed: Any) -> OpenAIES:
    settings = {"run_seed": 3, "pop_size": C, "sigma": 0.3, "lr": 0.3, "optimizer": "clipup"}
    return OpenAIES(THETA0, noise, **(settings | {"sigma_lr": 0.5} | changed))


def valley(es: OpenAIES, generation: int, noise: NoiseTable) -> np.ndarray:
    """``(C, 1)``: fitness where two of the parameters matter a thousand times as much."""
    out = np.empty(D, dtype=np.float32)
    fitness_ce = np.empty((C, 1))
    for c in range(C):
        write_candidate(es.ask(generation), c, noise, out)
        fitness_ce[c] = height(out)
    return fitness_ce


def height(theta: np.ndarray) -> float:
    return -float((STEEPNESS * np.square(theta, dtype=np.float64)).sum())


def trained(es: OpenAIES, noise: NoiseTable, generations: range) -> OpenAIES:
    for generation in generations:
        es.tell(generation, valley(es, generation, noise))
    return es


def test_the_estimate_is_the_sum_written_out() -> None:
    random = np.random.Generator(np.random.Philox(5))
    values = random.standard_normal(10_000, dtype=np.float32)
    indices, fitness = random.integers(0, 9000, 20), random.standard_normal(40)
    weights = (fitness - fitness.mean()) / np.abs(fitness - fitness.mean()).sum()
    expected = np.zeros(1000)
    for pair, index in enumerate(indices):
        row = values[index : index + 1000].astype(np.float64)
        expected += (weights[2 * pair] + weights[2 * pair + 1]) * (row**2 - 1)
    estimate = estimate_log_sigma_gradient(values, indices, fitness, 1000)
    assert estimate == pytest.approx(expected, rel=1e-4, abs=1e-5)
    larger = estimate_log_sigma_gradient(values, indices, 1024 * fitness, 1000)
    assert np.array_equal(larger, estimate), "weights are relative"


def test_its_bits_are_the_ones_of_every_release_and_processor() -> None:
    values = (np.arange(5000) % 97 / 97 - 0.5).astype(np.float32)
    indices = np.array([0, 1234, 17, 3999])
    fitness = np.array([0.5, -0.3, 0.1, 0.7, -0.9, 0.2, 0.0, 0.4])
    estimate = estimate_log_sigma_gradient(values, indices, fitness, 1000)
    assert hashlib.sha256(estimate.tobytes()).hexdigest()[:16] == "b7216f92d9b77924"


def test_its_bits_do_not_depend_on_threads_and_blocks(
    noise: NoiseTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, indices = 300_000, np.array([5, 1_000_003])
    fitness = np.array([0.5, -0.3, 0.1, 0.7])
    monkeypatch.setattr("es.gradient.num_threads", lambda: 1)
    one = estimate_log_sigma_gradient(noise.values, indices, fitness, size)
    monkeypatch.setattr("es.gradient.num_threads", lambda: 3)
    monkeypatch.setattr("es.gradient.BLOCK", 40_001)
    assert np.array_equal(estimate_log_sigma_gradient(noise.values, indices, fitness, size), one)


@pytest.mark.parametrize("fitness", [0.0, 0.3, -1e308])
def test_equal_fitness_changes_nothing(noise: NoiseTable, fitness: float) -> None:
    es = strategy(noise, shaping="raw")
    es.tell(0, np.full((C, 1), fitness))
    assert es.ask(1).sigma.tolist() == strategy(noise).ask(0).sigma.tolist()


def test_huge_fitness_does_not_overflow(noise: NoiseTable) -> None:
    values, indices = noise.values, np.arange(2)
    estimate = estimate_log_sigma_gradient(values, indices, np.array([1e308] * 3 + [-1e308]), D)
    assert np.isfinite(estimate).all()


def test_a_sigma_changes_by_a_fifth_at_most_and_stays_above_a_quarter_of_the_first() -> None:
    sigma = np.array([1, 1, 0.26], dtype=np.float32)
    new = adapted(sigma, np.array([1e9, -1e9, -1e9], dtype=np.float32), 1.0, 1.0)
    assert new.dtype == np.float32
    assert new[:2] == pytest.approx([1 + MOST_CHANGE, 1 - MOST_CHANGE])
    assert new[2] == np.float32(0.25)


def test_steep_parameters_come_to_be_searched_with_smaller_steps(noise: NoiseTable) -> None:
    es = trained(strategy(noise), noise, range(20))
    sigma = es.ask(20).sigma
    assert sigma[STEEPNESS > 1].max() < sigma[STEEPNESS == 1].min() / 3


def test_so_it_comes_further_than_with_one_sigma_for_all(noise: NoiseTable) -> None:
    own = trained(strategy(noise), noise, range(60)).theta
    one = trained(strategy(noise, sigma_lr=0.0), noise, range(60)).theta
    assert height(own) > height(one) / 5


def test_each_parameter_is_moved_in_proportion_to_its_sigma(noise: NoiseTable) -> None:
    es = trained(strategy(noise, optimizer="sgd", lr=0.01, momentum=0.0), noise, range(5))
    fitness_ce = np.arange(C, dtype=np.float64)[:, None]
    before, ratio = es.theta, es.ask(5).sigma / np.float32(0.3)
    es.tell(5, fitness_ce)
    plain = strategy(noise, optimizer="sgd", lr=0.01, momentum=0.0, sigma_lr=0.0)
    plain.tell(5, fitness_ce)
    assert es.theta - before == pytest.approx((plain.theta - THETA0) * ratio, rel=1e-3, abs=1e-6)
    assert ratio.min() < 0.9 * ratio.max()


def test_it_says_how_wide_it_searches(noise: NoiseTable) -> None:
    es = strategy(noise)
    told = es.tell(0, valley(es, 0, noise))
    sigma = es.ask(1).sigma
    assert told["search/step_size"] == pytest.approx(np.exp(np.log(sigma).mean()), rel=1e-5)
    assert told["search/axis_ratio"] == pytest.approx(sigma.max() / sigma.min(), rel=1e-5)
    assert "search/step_size" not in strategy(noise, sigma_lr=0.0).tell(0, valley(es, 0, noise))


def test_a_run_with_sigmas_is_not_resumed_without_nor_the_other_way_round(
    noise: NoiseTable,
) -> None:
    own, one = strategy(noise), strategy(noise, sigma_lr=0.0)
    with pytest.raises(
        ConfigError, match=r"sigma_lr=0, but the run was made with a sigma for each"
    ):
        one.restore(own.state())
    with pytest.raises(
        ConfigError, match=r"sigma_lr=0\.5, but the run was made with one sigma for all"
    ):
        own.restore(one.state())


def test_a_sigma_that_leaves_the_finite_numbers_ends_the_run(noise: NoiseTable) -> None:
    es = strategy(noise, sigma=3e38)
    rows = [noise.row(index, D) for index in es.ask(0).noise_indices_n.tolist()]
    the_wider_the_better = np.repeat([float(np.square(row).sum()) for row in rows], 2)[:, None]
    with pytest.raises(RunAborted, match="smaller sigma_lr"):
        es.tell(0, the_wider_the_better)


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused(noise: NoiseTable, wrong: float) -> None:
    with pytest.raises(ConfigError, match=r"sigma_lr=.*expected 0 or more"):
        strategy(noise, sigma_lr=wrong)
