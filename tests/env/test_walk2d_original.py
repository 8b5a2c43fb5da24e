"""OpenSimWalk2D-v0 beside osim-rl 3.0.11's own environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gymnasium.spaces import Box

pytest.importorskip("opensim")
pytest.importorskip("osim")

from original_walk2d import original_walk2d

from env.musculoskeletal.walk2d import START_POSE, Walk2D
from policy.reflex import ReflexActor

Controller = Callable[[np.ndarray], np.ndarray]


def random_actions() -> Controller:
    rng = np.random.default_rng(3)
    return lambda observation: rng.uniform(-0.1, 0.6, 22)


def reflexes() -> Controller:
    actor = ReflexActor(Box(-1, 1, (339,)), Box(0, 1, (22,)), {})
    actor.load(np.zeros(37, np.float32), None)
    actor.reset(np.random.default_rng(0))
    return actor.act


@pytest.mark.parametrize("controller", [random_actions, reflexes])
def test_observations_and_rewards_are_the_originals_over_an_episode(
    controller: Callable[[], Controller],
) -> None:
    original, ours = original_walk2d(), Walk2D()
    act = controller()
    original.reset(init_pose=np.array(START_POSE))
    observation, _ = ours.reset()
    assert (observation[242:] == original.get_observation()[242:]).all()
    done, length = False, 0
    while not done:
        action = act(observation)
        _, expected_reward, done, _ = original.step(action)
        observation, reward, terminated, truncated, _ = ours.step(action)
        expected = np.array(original.get_observation())
        # Interpolated there, a constant here: apart by the last bits of 1.4.
        assert observation[:242] == pytest.approx(expected[:242], abs=1e-15)
        assert (observation[242:] == expected[242:]).all()
        assert reward == pytest.approx(expected_reward, abs=1e-13)
        assert done == (terminated or truncated)
        length += 1
    assert length > 30


def test_the_bonus_at_the_time_limit_is_the_originals_but_for_its_error() -> None:
    original, ours = original_walk2d(), Walk2D(time_limit_steps=4)
    original.spec.timestep_limit = 4
    original.reset(init_pose=np.array(START_POSE))
    ours.reset()
    for _ in range(4):
        action = np.full(22, 0.2)
        _, expected, done, _ = original.step(action)
        _, reward, _, truncated, _ = ours.step(action)
        assert (reward, truncated) == (pytest.approx(expected), done)
    assert truncated
    assert reward > 10
