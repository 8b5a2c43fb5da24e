"""The sphere function as an environment: for tests, and for timing everything but a simulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _CENTRE, _HALF = 480, 320, 180.0, 120.0
_PAPER, _RULE, _RING, _DOT = (245, 246, 248), (200, 204, 210), (60, 90, 200), (220, 90, 50)


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

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012  Gymnasium's own

    def __init__(self, size: int = 10, render_mode: str | None = None) -> None:
        if size < 1:
            raise ValueError(f"size={size}: a sphere has at least 1 dimension")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(1.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.optimum = np.linspace(-0.5, 0.5, size) if size > 1 else np.array([0.5])
        self._observation = np.ones(1, dtype=np.float32)
        self._action: NDArray[np.float32] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        # The generator of the base class is left alone: nothing here is drawn.
        self._action = None
        return self._observation.copy(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        distance = action - self.optimum
        self._action = action
        return self._observation.copy(), -float(distance @ distance), True, False, {}

    def render(self) -> Any:
        """Each dimension's optimum as a ring, the action as a dot, or ``None`` without a render
        mode: ``(320, 480, 3)`` uint8; -1 to 1 from bottom to top, actions beyond at the edge.
        """
        if self.render_mode is None:
            return None
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
        pen = ImageDraw.Draw(image)
        pen.line((0, _row(0.0), _WIDTH, _row(0.0)), fill=_RULE)
        columns = np.linspace(0, _WIDTH, len(self.optimum) + 2)[1:-1].tolist()
        radius = min(9.0, 0.4 * _WIDTH / (len(columns) + 1))
        for place, (column, optimum) in enumerate(zip(columns, self.optimum, strict=True)):
            row = _row(float(optimum))
            if self._action is not None:
                dot = _row(float(self._action[place]))
                pen.line((column, row, column, dot), fill=_DOT)
                pen.circle((column, dot), 0.6 * radius, fill=_DOT)
            pen.circle((column, row), radius, outline=_RING, width=2)
        return np.asarray(image).copy()


def _row(value: float) -> float:
    """Where a value stands in the picture, beneath the strip that captions have."""
    return _CENTRE - _HALF * min(1.0, max(-1.0, value))
