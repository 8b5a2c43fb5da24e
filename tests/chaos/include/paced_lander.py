"""Gymnasium's lander at a pace that leaves a shared machine to others; it lands all the same."""

from __future__ import annotations

import time
from typing import Any

import gymnasium


class PacedLander(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Args:
    step_s: what each step waits.
    """

    def __init__(self, step_s: float = 0.0) -> None:
        super().__init__(gymnasium.make("LunarLanderContinuous-v3").unwrapped)
        self.step_s = step_s

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.step_s:
            time.sleep(self.step_s)
        return self.env.step(action)


gymnasium.register("PacedLander-v0", entry_point="paced_lander:PacedLander", max_episode_steps=1000)
