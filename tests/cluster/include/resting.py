"""An environment of a user's own that takes its time and no processor's."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

_STEP_S = 0.1


class Resting(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One step, whose reward is the action."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.ones(1, np.float32), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        time.sleep(_STEP_S)
        return np.ones(1, np.float32), float(action[0]), True, False, {}


gymnasium.register("Resting-v0", entry_point=Resting)
