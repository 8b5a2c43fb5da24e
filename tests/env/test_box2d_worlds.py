"""What an episode is in Box2D's worlds does not depend on the episodes before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from env import registry
from env.spec import EnvSpec


def episode(env: Any, seed: int) -> list[float]:
    """The rewards of random actions."""
    actions = np.random.default_rng(seed)
    env.reset(seed=seed)
    rewards = []
    for _ in range(120):
        action = actions.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        _, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return rewards


@pytest.mark.parametrize(
    "name", ["BipedalWalker-v3", "BipedalWalkerHardcore-v3", "LunarLanderContinuous-v3"]
)
def test_an_episode_owes_nothing_to_the_one_before(name: str) -> None:
    spec = EnvSpec(name)
    kept = registry.make(spec)
    for seed in range(6):
        fresh = registry.make(spec)
        assert episode(kept, seed) == episode(fresh, seed)
        fresh.close()
    kept.close()
