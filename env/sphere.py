"""The sphere function as an environment: for tests, and for timing everything but a simulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class Sphere(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One step, one reward: how close is the action to a fixed point?

    | | |
    | --- | --- |
    | action | ``Box(-inf, inf, (size,), float32)`` |
    | observation | ``[1.0]``, always: a policy's output is what it says to a constant |
    | reward | -sum((action - optimum)^2), at most 0 |
    | optimum | evenly spaced from -0.5 to 0.5, within reach of a tanh output |
    | start | nothing is random: every episode of a policy is the same |
    | end | after one step |

    The sphere is De Jong's F1 (1975), moved off the origin so that theta = 0 is not the answer.

    Args:
        size: number of dimensions, at least 1.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own declaration

    def __init__(self, size: int = 10, render_mode: str | None = None) -> None:
        if size < 1:
            raise ValueError(f"size={size}: a sphere has at least 1 dimension")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.optimum = np.linspace(-0.5, 0.5, size) if size > 1 else np.array([0.5])
        self._observation = np.ones(1, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        # The generator of the base class is left alone: nothing here is drawn.
        return self._observation.copy(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        distance = action - self.optimum
        return self._observation.copy(), -float(distance @ distance), True, False, {}
