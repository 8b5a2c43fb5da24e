"""Optimisers: the named rule, uphill, and to the bit after a resume."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from errors import ConfigError
from es.optimizers import OPTIMIZERS, OptimizerSettings, ThetaOptimizer

SETTINGS = OptimizerSettings(lr=0.1, l2coeff=0.01)
GRADIENT = np.array([1.0, -2.0, 0.5], dtype=np.float32)
ZEROS = np.zeros(3, dtype=np.float32)


def gradients(count: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.standard_normal(3).astype(np.float32)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_steps_uphill(name: str) -> None:
    optimizer = ThetaOptimizer(ZEROS, name, SETTINGS)
    optimizer.ascend(GRADIENT)
    assert np.array_equal(np.sign(optimizer.theta), np.sign(GRADIENT))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_restored_midway_it_equals_one_that_never_stopped(name: str) -> None:
    steady = ThetaOptimizer(GRADIENT, name, SETTINGS)
    stopped = ThetaOptimizer(GRADIENT, name, SETTINGS)
    for number, gradient in enumerate(gradients(10)):
        if number in (0, 5):
            state = stopped.state()
            stopped.ascend(gradient)  # must not reach the state already taken
            stopped = ThetaOptimizer(ZEROS, name, SETTINGS)
            stopped.restore(state)
        steady.ascend(gradient)
        stopped.ascend(gradient)
        assert stopped.theta.tobytes() == steady.theta.tobytes()


def test_adam_takes_the_steps_of_its_paper() -> None:
    optimizer = ThetaOptimizer(ZEROS, "adam", OptimizerSettings(lr=0.1, adam_beta1=0.8))
    theta, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(gradients(5), start=1):
        optimizer.ascend(gradient)
        # Kingma and Ba 2015, algorithm 1, uphill
        m = 0.8 * m + 0.2 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        theta += 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert optimizer.theta == pytest.approx(theta, rel=1e-4)


def test_clipup_takes_the_steps_of_its_paper() -> None:
    optimizer = ThetaOptimizer(ZEROS, "clipup", OptimizerSettings(lr=0.1, momentum=0.9))
    theta, velocity, speeds = np.zeros(3), np.zeros(3), []
    for noise in gradients(8):
        gradient = noise + np.float32(1.0)
        optimizer.ascend(1000 * gradient)  # its length does not matter
        # Toklu et al. 2020, algorithm 1, uphill
        velocity = 0.9 * velocity + 0.1 * gradient / np.linalg.norm(gradient)
        speeds.append(np.linalg.norm(velocity))
        velocity *= min(1.0, 0.2 / speeds[-1])
        theta += velocity
    assert optimizer.theta == pytest.approx(theta, rel=1e-4)
    assert min(speeds) < 0.2 < max(speeds)


def test_clipup_coasts_where_there_is_no_slope() -> None:
    optimizer = ThetaOptimizer(ZEROS, "clipup", OptimizerSettings(lr=0.1, momentum=0.5))
    optimizer.ascend(np.array([0, 3, 4], dtype=np.float32))
    optimizer.ascend(ZEROS)
    assert optimizer.theta == pytest.approx([0, 0.09, 0.12])


def test_sgd_has_momentum_and_l2_pulls_towards_zero() -> None:
    settings = OptimizerSettings(lr=0.5, l2coeff=0.25, momentum=0.5)
    optimizer = ThetaOptimizer(np.array([8.0], dtype=np.float32), "sgd", settings)
    optimizer.ascend(np.array([1.0], dtype=np.float32))
    assert optimizer.theta.tolist() == [8 + 0.5 * (1 - 2)]
    optimizer.ascend(np.array([0.0], dtype=np.float32))
    velocity = 0.5 * (1 - 2) - 0.25 * 7.5
    assert optimizer.theta.tolist() == [7.5 + 0.5 * velocity]


def test_adamw_decays_theta_and_leaves_the_gradient_alone() -> None:
    optimizer = ThetaOptimizer(
        np.array([2.0], dtype=np.float32), "adamw", OptimizerSettings(lr=0.5, l2coeff=0.1)
    )
    optimizer.ascend(np.zeros(1, dtype=np.float32))
    assert optimizer.theta == pytest.approx([2 * (1 - 0.5 * 0.1)])


def test_theta_cannot_be_written_from_outside() -> None:
    start = ZEROS.copy()
    optimizer = ThetaOptimizer(start, "adam", SETTINGS)
    start[0] = 9
    assert not optimizer.theta.any()
    with pytest.raises(ValueError, match="read-only"):
        optimizer.theta[0] = 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"lr": -1.0},
        {"lr": math.nan},
        {"lr": math.inf},
        {"l2coeff": -0.1},
        {"momentum": 1.0},
        {"adam_beta1": 1.0},
        {"adam_beta2": -0.1},
        {"adam_epsilon": 0.0},
    ],
)
def test_a_setting_out_of_its_range_is_named(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"{name}={value}: expected") as refusal:
        ThetaOptimizer(ZEROS, "adam", SETTINGS._replace(**wrong))
    assert "\n" not in str(refusal.value)


def test_an_unknown_optimiser_names_the_close_one() -> None:
    with pytest.raises(ConfigError, match=r"did you mean adam"):
        ThetaOptimizer(ZEROS, "adaam", SETTINGS)


def test_the_state_of_another_optimiser_or_policy_is_refused() -> None:
    state = ThetaOptimizer(ZEROS, "adam", SETTINGS).state()
    with pytest.raises(ConfigError, match="made with adam"):
        ThetaOptimizer(ZEROS, "sgd", SETTINGS).restore(state)
    with pytest.raises(ConfigError, match="3 parameters, the policy here 4"):
        ThetaOptimizer(np.zeros(4, dtype=np.float32), "adam", SETTINGS).restore(state)
