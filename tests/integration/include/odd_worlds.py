"""Environments that a user might bring: slow ones, frail ones, and ones that cannot work."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np


class Slow(gymnasium.Env[Any, Any]):
    """Three steps of 10 ms; the reward depends on the world's seed and on the action."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    step_s = 0.01

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        self._seen = self.np_random.uniform(-1, 1, 2)
        return self._seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self.step_s)
        self._steps += 1
        reward = -float((float(action[0]) - self._seen[0]) ** 2)
        self._seen = self.np_random.uniform(-1, 1, 2)
        return self._seen, reward, self._steps == 3, False, {}


class Frail(Slow):
    """Raises in about one episode of eight."""

    step_s = 0.0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._steps == 0 and self._seen[1] > 0.75:
            raise ValueError("the knee is inside out")
        return super().step(action)


class Hopeless(Slow):
    """Always raises."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        raise ValueError("the floor is missing")


class Unborn(Slow):
    """Raises at reset."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        raise ValueError("no world today")


class NotANumber(Slow):
    """Its rewards are NaN."""

    step_s = 0.0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, _, ended, cut, info = super().step(action)
        return seen, float("nan"), ended, cut, info


class Odd(Slow):
    """Observes a dictionary."""

    observation_space = gymnasium.spaces.Dict(  # type: ignore[assignment]
        {"eye": gymnasium.spaces.Box(-1, 1, (2,), np.float64)}
    )


class Curious(Slow):
    """Looks for what is none of its business."""

    step_s = 0.0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        found = [name for name in os.environ if name.startswith(("ES_MONGO_", "ES_NOTIFY_"))]
        if found:
            raise ValueError(f"I know {found}")
        return super().step(action)


for world in (Slow, Frail, Hopeless, Unborn, NotANumber, Odd, Curious):
    gymnasium.register(f"{world.__name__}-v0", world)
