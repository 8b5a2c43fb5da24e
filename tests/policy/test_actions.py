"""Muscle excitations: outputs of a network between 0 and 1. Other spaces: see `test_actor`."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box

from errors import ConfigError
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

EXCITATIONS = Box(0.0, 1.0, (2,), np.float32)
ONE = Box(-np.inf, np.inf, (1,), np.float32)
SUMS = np.linspace(-4, 4, 81)


def excitations(activation: str) -> np.ndarray:
    """Of a linear network whose sums are x and -x, at `SUMS`."""
    actor = build_actor(PolicySpec("linear", output_activation=activation), ONE, EXCITATIONS)
    actor.load(np.array([1, 0, -1, 0], np.float32), None)
    actor.reset(np.random.default_rng(0))
    actions = np.array([actor.act(np.array([x])) for x in SUMS])
    assert actions.dtype == np.float32
    assert all(EXCITATIONS.contains(action) for action in actions)
    return actions


def test_actions_of_another_type_lie_within_its_bounds():
    space = Box(-0.1, 0.1, (1,), np.float64)
    actor = build_actor(PolicySpec("linear"), ONE, space)
    for weight in (-100, 100):
        actor.load(np.array([weight, 0], np.float32), None)
        actor.reset(np.random.default_rng(0))
        assert space.contains(actor.act(np.array([1.0])))


@pytest.mark.parametrize("network", ["linear", "feed_forward", "lstm", "random", "symmetric"])
def test_options_that_a_network_does_not_have_are_refused(network):
    with pytest.raises(ConfigError, match=r"network_options=.*width.*leave it out"):
        build_actor(PolicySpec(network, options={"width": 9}), ONE, EXCITATIONS)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("tanh", 1 / (1 + np.exp(-2 * SUMS))),
        ("none", np.clip(0.5 + SUMS / 2, 0, 1)),
        ("discrete", 0.5 + np.rint(5 * np.tanh(SUMS)) / 10),
        ("relu", np.clip(0.5 + np.where(SUMS > 0, SUMS, SUMS / 100) / 2, 0, 1)),
    ],
)
def test_outputs_become_excitations_as_stated(activation, expected):
    np.testing.assert_allclose(excitations(activation)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "none", "discrete"])
def test_flexor_and_extensor_of_opposite_sums_share_one(activation):
    np.testing.assert_allclose(excitations(activation).sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("activation", ["none", "tanh", "discrete", "relu"])
def test_an_untrained_network_holds_every_muscle_near_a_half(activation):
    spec, seen = PolicySpec(output_activation=activation), Box(-np.inf, np.inf, (339,))
    muscles = Box(0.0, 1.0, (22,), np.float32)
    actor = build_actor(spec, seen, muscles)
    actor.load(initial_theta(spec, seen, muscles, 1), None)
    actor.reset(np.random.default_rng(0))
    observations = np.random.default_rng(1).normal(size=(20, 339))
    distance = np.abs([actor.act(observation) - 0.5 for observation in observations])
    assert distance.mean() < 0.15
    assert distance.max() < 0.45  # none at rest, none at its strongest
