"""The sphere."""

from __future__ import annotations

import numpy as np
import pytest

from env.registry import make
from env.spec import EnvSpec
from env.sphere import Sphere


@pytest.mark.parametrize("size", [1, 2, 10])
def test_the_reward_is_the_squared_distance_below_zero(size):
    env = Sphere(size)
    env.reset(seed=1)
    for offset in (0.0, 0.5, -2.0):
        _, reward, terminated, truncated, _ = env.step(env.optimum + offset)
        assert reward == pytest.approx(-size * offset**2)
        assert (terminated, truncated) == (True, False)


def test_the_optimum_is_in_reach_of_tanh_and_not_at_the_origin():
    assert np.abs(Sphere(10).optimum).max() <= 0.5
    assert (np.abs(Sphere(9).optimum) > 0).any()
    assert np.abs(Sphere(1).optimum) > 0


def test_the_seed_changes_nothing():
    env = make(EnvSpec("sphere"))
    assert env.reset(seed=1)[0].tolist() == env.reset(seed=2)[0].tolist() == [1.0]
