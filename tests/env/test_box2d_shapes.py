"""A worker that lands for hours needs no more memory than one that has just begun."""

from __future__ import annotations

import gc
from typing import Any

import gymnasium
import numpy as np
import psutil
import pytest

from env import registry
from env.spec import EnvSpec

LANDER = EnvSpec("LunarLanderContinuous-v3")
RESETS = 2000
MOST_BYTES = 600
"""In each reset; Gymnasium's own loses 1750 of them, and 100 are left."""


def own_bytes() -> int:
    gc.collect()
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


def lost_in_each_reset(env: gymnasium.Env[Any, Any]) -> float:
    for seed in range(500):
        env.reset(seed=seed)
    before = own_bytes()
    for seed in range(RESETS):
        env.reset(seed=seed)
    return (own_bytes() - before) / RESETS


def test_a_lander_gives_back_what_each_world_took() -> None:
    env = registry.make(LANDER)
    assert lost_in_each_reset(env) < MOST_BYTES
    env.close()


def test_its_episodes_are_gymnasiums_own_to_the_bit() -> None:
    def steps(env: gymnasium.Env[Any, Any]) -> list[Any]:
        rng = np.random.default_rng(1)
        seen = [env.reset(seed=5)[0]]
        for _ in range(120):
            observation, reward, *_ = env.step(rng.uniform(-1, 1, 2).astype(np.float32))
            seen.append([*observation, reward])
        return seen

    ours, theirs = registry.make(LANDER), gymnasium.make(LANDER.name).unwrapped
    for mine, its in zip(steps(ours), steps(theirs), strict=True):
        np.testing.assert_array_equal(mine, its)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("name", ["BipedalWalker-v3", "LunarLander-v3"])
def test_another_of_gymnasiums_box2d_environments_lives_through_many_resets(name: str) -> None:
    if name not in gymnasium.registry:
        pytest.skip(f"this Gymnasium has no {name}")
    env = registry.make(EnvSpec(name))
    env.action_space.seed(0)
    for seed in range(30):
        env.reset(seed=seed)
        for _ in range(10):
            env.step(env.action_space.sample())
    env.close()
