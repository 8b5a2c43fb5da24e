"""One network for both sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from errors import ConfigError
from policy.actor import build_actor, network_between
from policy.mirror import Mirror, MirroredBox
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from policy.torch_network import TorchNetwork, load_theta

SIZE = 339


def walkers_mirror() -> Mirror:
    """Legs at 251 and 295 as in `OpenSimWalk2D-v0`, some signs, actions that lie interleaved."""
    index, signs = np.arange(SIZE), np.ones(SIZE)
    index[251:295], index[295:339] = np.arange(295, 339), np.arange(251, 295)
    signs[121:242] = signs[[244, 246, 249, 250]] = -1
    actions = np.random.default_rng(4).permutation(22)
    return Mirror(index, signs, actions[:11], actions[11:])


MIRROR = walkers_mirror()
OBSERVATIONS = MirroredBox(-np.inf, np.inf, (SIZE,), np.float64, mirror=MIRROR)
ACTIONS = spaces.Box(0.0, 1.0, (22,), np.float32)
STATISTICS = ObservationStatistics.observed(
    np.random.default_rng(1).normal(0.7, np.linspace(0.1, 5, SIZE), (40, SIZE))
)


def loaded(spec: PolicySpec, statistics=None, seed: int = 1):
    actor = build_actor(spec, OBSERVATIONS, ACTIONS)
    actor.load(initial_theta(spec, OBSERVATIONS, ACTIONS, seed), statistics)
    actor.reset(np.random.default_rng(0))
    return actor


@pytest.mark.parametrize("activation", ["none", "tanh", "discrete", "relu"])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("hidden_sizes", [(), (64, 64), (7,)])
def test_mirrored_observations_give_mirrored_actions_to_the_bit(
    hidden_sizes, normalised, activation
):
    spec = PolicySpec(
        "symmetric", hidden_sizes, "tanh", activation, normalize_observations=normalised
    )
    actor = loaded(spec, STATISTICS)
    actor.load(3 * initial_theta(spec, OBSERVATIONS, ACTIONS, 1), STATISTICS)
    sides_differ = 0
    for observation in np.random.default_rng(2).normal(0.7, 1.0, (50, SIZE)):
        action = actor.act(observation)
        mirrored = actor.act(MIRROR.observation(observation))
        assert mirrored.tobytes() == MIRROR.action(action).tobytes()
        assert ACTIONS.contains(action)
        sides_differ += mirrored.tobytes() != action.tobytes()
    assert sides_differ > 40  # `discrete` has few levels


def test_a_symmetric_observation_moves_both_sides_alike():
    observation = np.random.default_rng(3).normal(size=SIZE)
    symmetric = (observation + MIRROR.observation(observation)) / 2
    action = loaded(PolicySpec("symmetric")).act(symmetric)
    np.testing.assert_array_equal(
        action[list(MIRROR.right_actions)], action[list(MIRROR.left_actions)]
    )


def test_the_right_side_is_the_network_of_the_observation_and_the_left_of_its_image():
    spec = PolicySpec("symmetric", (5, 4), normalize_observations=True)
    network = network_between(spec, OBSERVATIONS, ACTIONS)
    module = TorchNetwork(network)
    load_theta(module, torch.from_numpy(initial_theta(spec, OBSERVATIONS, ACTIONS, 1)))
    pooled = MIRROR.pooled(STATISTICS)

    def by_torch(seen):
        inputs = (seen - pooled.mean_o) / pooled.standard_deviation_o()
        with torch.inference_mode():
            return (module(torch.from_numpy(inputs.astype(np.float32))).numpy() + 1) / 2

    observation = np.random.default_rng(5).normal(size=SIZE)
    action = loaded(spec, STATISTICS).act(observation)
    right, left = list(MIRROR.right_actions), list(MIRROR.left_actions)
    np.testing.assert_allclose(action[right], by_torch(observation), atol=1e-6)
    np.testing.assert_allclose(action[left], by_torch(MIRROR.observation(observation)), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "hidden_sizes", "num_parameters"),
    [
        ("feed_forward", (64, 64), 27350),
        ("symmetric", (64, 64), 26635),
        ("symmetric", (32, 32), 12299),
        ("feed_forward", (), 22 * 340),
        ("symmetric", (), 11 * 340),
    ],
)
def test_it_has_as_many_parameters_as_stated(kind, hidden_sizes, num_parameters):
    actor = build_actor(PolicySpec(kind, hidden_sizes), OBSERVATIONS, ACTIONS)
    assert actor.num_parameters == num_parameters
    assert len(initial_theta(PolicySpec(kind, hidden_sizes), OBSERVATIONS, ACTIONS, 1)) == (
        num_parameters
    )


def test_noise_is_drawn_for_each_side_from_the_episode_s_generator():
    spec = PolicySpec("symmetric", (4,), output_activation="gaussian_fixed")
    actor = loaded(spec)
    observation = np.zeros(SIZE)  # the same to both sides: what differs is noise
    first = actor.act(observation)
    assert (first[list(MIRROR.right_actions)] != first[list(MIRROR.left_actions)]).all()
    actor.reset(np.random.default_rng(0))
    np.testing.assert_array_equal(actor.act(observation), first)


def test_an_action_is_not_changed_by_the_next_one():
    unbounded = spaces.Box(-np.inf, np.inf, (22,), np.float32)
    spec = PolicySpec("symmetric", (4,), output_activation="none")
    actor = build_actor(spec, OBSERVATIONS, unbounded)
    actor.load(initial_theta(spec, OBSERVATIONS, unbounded, 1), None)
    actor.reset(np.random.default_rng(0))
    first = actor.act(np.ones(SIZE))
    kept = first.copy()
    actor.act(-np.ones(SIZE))
    np.testing.assert_array_equal(first, kept)


def test_statistics_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="statistics of 3 observations"):
        loaded(
            PolicySpec("symmetric", normalize_observations=True),
            ObservationStatistics.observed(np.eye(3)),
        )


@pytest.mark.parametrize(
    ("observations", "actions", "said"),
    [
        (spaces.Box(-1, 1, (SIZE,)), ACTIONS, "says what its left and right are"),
        (spaces.Discrete(4), ACTIONS, "says what its left and right are"),
        (OBSERVATIONS, spaces.Box(0, 1, (18,)), "mirror is of 22 actions"),
        (OBSERVATIONS, spaces.Discrete(22), "mirror is of 22 actions"),
        (
            OBSERVATIONS,
            spaces.Box(np.zeros(22, np.float32), np.arange(1, 23, dtype=np.float32)),
            "other bounds than the left",
        ),
    ],
)
def test_an_environment_without_a_fitting_mirror_is_refused_in_one_line(
    observations, actions, said
):
    for build in (build_actor, lambda *parts: initial_theta(*parts, 1)):
        with pytest.raises(ConfigError, match=said) as refused:
            build(PolicySpec("symmetric"), observations, actions)
        assert "\n" not in str(refused.value)
