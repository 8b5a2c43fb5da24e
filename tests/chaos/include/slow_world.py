"""An episode that takes 20 to 300 ms of doing nothing, and says while it is under way.

Its fitness owes nothing to how long it takes: a run with ``pace=0`` is the reference of any other.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

if os.environ.get("CHAOS_WITHOUT_REPAIR"):
    import unrepaired  # noqa: F401

STEPS = 4
SHORTEST_S, LONGEST_S = 0.02, 0.3


class SlowWorld(gymnasium.Env[Any, Any]):
    """Four steps; the reward depends on the world's seed and on the action.

    Args:
        pace: what the durations are multiplied by.
        folder: where a process that is in an episode has a file with its number.
    """

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, pace: float = 1.0, folder: str = "") -> None:
        self.pace = pace
        self.flag = Path(folder) / str(os.getpid()) if folder else None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self.flag is not None:
            self.flag.touch()
        self.rng, self.steps = np.random.default_rng(seed), 0
        self.step_s = self.pace * self.rng.uniform(SHORTEST_S, LONGEST_S) / STEPS
        self.seen = self.rng.uniform(-1, 1, 2)
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.step_s:
            time.sleep(self.step_s)
        self.steps += 1
        reward = -float((float(action[0]) - self.seen[0]) ** 2)
        self.seen = self.rng.uniform(-1, 1, 2)
        is_over = self.steps == STEPS
        if is_over and self.flag is not None:
            self.flag.unlink(missing_ok=True)
        return self.seen, reward, is_over, False, {}


gymnasium.register("SlowWorld-v0", entry_point="slow_world:SlowWorld", max_episode_steps=STEPS)
