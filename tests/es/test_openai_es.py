"""OpenAI-ES: what it draws, how it moves, and that only the state matters.

What every strategy promises is in ``tests/contracts/test_strategies.py``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from errors import ConfigError, RunAborted
from es.gradient import estimate_gradient
from es.openai_es import OpenAIES
from es.shaping import centered_ranks
from search.candidates import write_candidate
from search.noise import DEFAULT_LENGTH, NoiseTable, open_table

D, C = 6, 20
THETA0 = np.linspace(-1, 2, D).astype(np.float32)


def strategy(noise: NoiseTable, **changed: Any) -> OpenAIES:
    settings = {"run_seed": 3, "pop_size": C, "sigma": 0.1, "lr": 0.05}
    return OpenAIES(THETA0, noise, **(settings | changed))


def sphere(es: OpenAIES, generation: int, noise: NoiseTable, episodes: int = 1) -> np.ndarray:
    """-|x|^2 of every candidate, ``(C, E)``."""
    candidates = es.ask(generation)
    out = np.empty(D, dtype=np.float32)
    fitness_ce = np.empty((candidates.num_candidates, episodes))
    for c in range(candidates.num_candidates):
        write_candidate(candidates, c, noise, out)
        fitness_ce[c] = -np.square(out, dtype=np.float64).sum()
    return fitness_ce


def test_pairs_are_drawn_from_the_seed_and_the_generation_alone(noise: NoiseTable) -> None:
    es = strategy(noise)
    later = es.ask(5).noise_indices_n
    assert es.ask(0).noise_indices_n.tolist() == strategy(noise).ask(0).noise_indices_n.tolist()
    assert es.ask(5).noise_indices_n.tolist() == later.tolist()
    others = [es.ask(4), strategy(noise, run_seed=4).ask(5)]
    assert all(other.noise_indices_n.tolist() != later.tolist() for other in others)


def test_the_drawn_pairs_are_the_ones_of_every_release(noise: NoiseTable) -> None:
    assert strategy(noise).ask(2).noise_indices_n[:3].tolist() == GOLDEN_INDICES


def test_noise_indices_cover_the_table_and_stay_within(noise: NoiseTable) -> None:
    indices = strategy(noise, pop_size=20_000).ask(0).noise_indices_n
    assert 0 <= indices.min() < 10_000
    assert DEFAULT_LENGTH - 10_000 < indices.max() <= DEFAULT_LENGTH - D
    assert abs(indices.mean() / DEFAULT_LENGTH - 0.5) < 0.02


def test_a_step_of_sgd_is_lr_times_the_estimated_gradient(noise: NoiseTable) -> None:
    es = strategy(noise, optimizer="sgd", momentum=0.0, lr=0.5, l2coeff=0.1)
    fitness = sphere(es, 0, noise)
    gradient = estimate_gradient(
        noise.values, es.ask(0).noise_indices_n, centered_ranks(fitness[:, 0]), 0.1, D
    )
    figures = es.tell(0, fitness)
    assert es.theta == pytest.approx(THETA0 + 0.5 * (gradient - 0.1 * THETA0), rel=1e-5)
    moved = np.linalg.norm(es.theta - THETA0)
    assert figures == pytest.approx(
        {
            "update/grad_norm": np.linalg.norm(gradient),
            "update/ratio": moved / np.linalg.norm(es.theta),
            "theta/norm": np.linalg.norm(es.theta),
        }
    )


def test_the_path_over_a_sphere_is_the_one_of_every_release(noise: NoiseTable) -> None:
    es = strategy(noise)
    for generation in range(5):
        es.tell(generation, sphere(es, generation, noise))
    # Not to the bit: torch's Adam may round otherwise on an older processor.
    assert es.theta == pytest.approx(GOLDEN_THETA, rel=1e-5)


@pytest.mark.parametrize("shaping", ["centered_ranks", "z_score", "raw"])
def test_equal_fitness_moves_nothing(noise: NoiseTable, shaping: str) -> None:
    es = strategy(noise, shaping=shaping)
    es.tell(0, np.full((C, 2), 0.1))
    assert np.array_equal(es.theta, THETA0)


def test_a_failed_episode_moves_theta_as_the_worst_one_would(noise: NoiseTable) -> None:
    failed, worst = strategy(noise), strategy(noise)
    fitness = sphere(failed, 0, noise, episodes=2)
    fitness[4, 1] = fitness.min()
    worst.tell(0, fitness)
    fitness[4, 1] = np.nan
    failed.tell(0, fitness)
    assert np.array_equal(failed.theta, worst.theta)


def test_with_generations_open_each_is_told_with_its_own_pairs(noise: NoiseTable) -> None:
    overlapped, reference = strategy(noise), strategy(noise)
    waiting = [sphere(overlapped, generation, noise) for generation in range(3)]
    for generation, fitness in enumerate(waiting):
        overlapped.tell(generation, fitness)
        reference.tell(generation, fitness)
        assert np.array_equal(overlapped.theta, reference.theta)
    assert np.square(overlapped.theta).sum() < np.square(THETA0).sum()


def test_theta_that_leaves_the_finite_numbers_ends_the_run(noise: NoiseTable) -> None:
    es = strategy(noise, shaping="raw", optimizer="sgd")
    with pytest.raises(RunAborted, match="smaller lr"):
        es.tell(0, np.linspace(-1e300, 1e300, C)[:, None])


def test_a_start_from_zero_has_a_finite_ratio(noise: NoiseTable) -> None:
    es = OpenAIES(np.zeros(D, dtype=np.float32), noise, run_seed=0, pop_size=2, sigma=1, lr=1)
    assert es.tell(0, np.zeros((2, 1)))["update/ratio"] == 0
    assert math.isfinite(es.tell(1, np.array([[0.0], [1.0]]))["update/ratio"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pop_size": 7}, "pop_size=7: expected an even number.*try pop_size=8"),
        ({"pop_size": 0}, "try pop_size=2"),
        ({"pop_size": -3}, "try pop_size=2"),
        ({"sigma": 0.0}, "sigma=0.0: expected more than 0"),
        ({"sigma": math.nan}, "sigma=nan: expected more than 0"),
        ({"lr": 0.0}, "lr=0.0: expected more than 0"),
        ({"shaping": "rank"}, "shaping=rank: expected one of"),
        ({"optimizer": "adams"}, "optimizer=adams: expected one of"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    noise: NoiseTable, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        strategy(noise, **wrong)
    assert "\n" not in str(refusal.value)


def test_a_table_too_short_for_the_policy_is_refused(tmp_path: Any) -> None:
    with (
        open_table(0, 1000, tmp_path) as short,
        pytest.raises(ConfigError, match="set noise_table_size=25000000"),
    ):
        strategy(short)


def test_a_start_that_is_not_finite_is_refused(noise: NoiseTable) -> None:
    with pytest.raises(ConfigError, match="finite"):
        OpenAIES(
            np.array([0, np.nan], dtype=np.float32), noise, run_seed=0, pop_size=2, sigma=1, lr=1
        )


GOLDEN_INDICES = [21387246, 16039094, 3591951]
GOLDEN_THETA = [-0.7933923, -0.1862408, 0.268857, 0.5744097, 1.1727424, 1.7625084]
