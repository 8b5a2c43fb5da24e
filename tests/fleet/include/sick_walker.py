"""OpenSim's walker seen through two numbers, and for some seeds an illness of the simulator's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

MUSCLES = 22
HEIGHT_AND_PITCH = slice(242, 244)
LOW = (1.7, 0.5, 0.3, 0.2012, 0.0, -0.6952, -0.3231, 0.1709, 0.0, -0.0528, -0.8042, -0.1745)
"""The walker's usual start, but for a pelvis at 0.3 m: OpenSim integrates for ever."""


class SickWalker(gymnasium.Env[NDArray[np.float64], NDArray[np.float32]]):
    """Two steps of the walker with all muscles alike.

    Args:
        kind: ``collapse``, its integrator never returns; ``poison``, it computes with NaN.
        seeds: the resets that lead to it.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)

    def __init__(self, kind: str = "", seeds: Sequence[int] = ()) -> None:
        self.kind, self.seeds = kind, set(seeds)
        self.healthy: Any = self.walker()

    def walker(self, **options: Any) -> Any:
        made = gymnasium.make("OpenSimWalk2D-v0", disable_env_checker=True, **options)
        return made.unwrapped

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.walking, self.steps = self.healthy, 0
        self.is_ill = seed in self.seeds
        if self.is_ill and self.kind == "collapse":
            self.walking = self.walker(pose=LOW)
        observation, info = self.walking.reset(seed=seed)
        return observation[HEIGHT_AND_PITCH], info

    def poison(self) -> None:
        """Past the environment's own check of its actions, into OpenSim's equations."""
        self.walking.model.set_excitations([float("nan")] * MUSCLES)
        self.walking.model.advance()

    def step(self, action: NDArray[np.float32]) -> Any:
        self.steps += 1
        if self.is_ill and self.kind == "poison":
            self.poison()
        excitations = np.full(MUSCLES, np.clip(action[0], 0, 1))
        observation, reward, ended, _, info = self.walking.step(excitations)
        return observation[HEIGHT_AND_PITCH], reward, ended or self.steps == 2, False, info


gymnasium.register("SickWalker-v0", entry_point="sick_walker:SickWalker", max_episode_steps=100)
