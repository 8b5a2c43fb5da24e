"""Frame skip and history."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from env.wrappers import FrameSkip, History


class Counter(gym.Env[Any, Any]):
    """Observation: the step's number; reward: the same; ends after ``end`` steps."""

    action_space = spaces.Discrete(2)

    def __init__(self, end: int = 10, space: spaces.Space[Any] | None = None) -> None:
        self.end = end
        self.observation_space = space or spaces.Box(-1, 100, (1,), np.float32)
        self.discrete = isinstance(space, spaces.Discrete)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self._see(), {}

    def step(self, action):
        self.count += 1
        terms = {"one": 1.0, "count": self.count}
        return self._see(), self.count, self.count == self.end, False, {"reward_terms": terms}

    def _see(self):
        return self.count if self.discrete else np.array([self.count], np.float32)


def test_a_skipped_step_sums_rewards_and_shows_the_last_observation():
    env = FrameSkip(Counter(), 4)
    env.reset()
    observation, reward, terminated, _, info = env.step(0)
    assert (observation[0], reward, terminated) == (4, 1 + 2 + 3 + 4, False)
    assert info["reward_terms"] == {"one": 4.0, "count": 10.0}
    assert env.elapsed == 4


def test_skipping_stops_at_the_end_of_the_episode():
    env = FrameSkip(Counter(end=6), 4)
    env.reset()
    env.step(0)
    observation, reward, terminated, _, _ = env.step(0)
    assert (observation[0], reward, terminated, env.elapsed) == (6, 5 + 6, True, 6)


def test_skipping_stops_at_the_cap():
    env = FrameSkip(Counter(end=100), 4)
    env.max_steps = 6
    for _ in range(2):
        env.reset()
        assert env.step(0)[3] is False
        observation, _, terminated, truncated, _ = env.step(0)
        assert (observation[0], terminated, truncated) == (6, False, True)


def test_history_is_oldest_first_and_filled_with_the_first_observation():
    env = History(Counter(), 3)
    for _ in range(2):
        assert env.reset()[0].tolist() == [0, 0, 0]
        seen = [env.step(0)[0].tolist() for _ in range(4)]
        assert seen == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_an_observation_of_history_is_not_changed_by_the_next_step():
    env = History(Counter(), 2)
    first, _ = env.reset()
    env.step(0)
    assert first.tolist() == [0, 0]


def test_history_of_discrete_observations_is_one_hot():
    env = History(Counter(space=spaces.Discrete(3)), 2)
    assert env.reset()[0].tolist() == [1, 0, 0, 1, 0, 0]
    observation = env.step(0)[0]
    assert observation.tolist() == [1, 0, 0, 0, 1, 0]
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_history_declares_what_it_gives(dtype):
    env = History(Counter(space=spaces.Box(0, 50, (1,), dtype)), 3)
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    assert observation.dtype == (np.float64 if dtype == np.float64 else np.float32)


def test_history_counts_decisions_not_simulator_steps():
    env = History(FrameSkip(Counter(), 3), 2)
    env.reset()
    assert env.step(0)[0].tolist() == [0, 3]
    assert env.step(0)[0].tolist() == [3, 6]
