"""Holding an action for several simulator steps, and seeing several observations at once."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy.mirror import stacked_box
from policy.observations import observation_encoder

StepResult = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]


class FrameSkip(gym.Wrapper[Any, Any, Any, Any]):
    """Hold each action for ``frame_skip`` simulator steps, or until the episode ends.

    A step returns the sum of the rewards (and of ``info["reward_terms"]``) and the last
    observation. Episodes are counted and capped in simulator steps: where ``max_steps`` is no
    multiple of ``frame_skip``, the last action is held for what is left.

    Attributes:
        elapsed: simulator steps since the reset.
        max_steps: cap in simulator steps, or ``None``; reaching it truncates the episode.
    """

    def __init__(self, env: gym.Env[Any, Any], frame_skip: int) -> None:
        super().__init__(env)
        self.frame_skip = frame_skip
        self.elapsed = 0
        self.max_steps: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.elapsed = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> StepResult:
        total = 0.0
        terms: dict[str, float] = {}
        for _ in range(self.frame_skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            for name, value in info.get("reward_terms", {}).items():
                terms[name] = terms.get(name, 0.0) + float(value)
            self.elapsed += 1
            truncated = truncated or self.elapsed == self.max_steps
            if terminated or truncated:
                break
        if terms:
            info = {**info, "reward_terms": terms}
        return observation, total, terminated, truncated, info


class History(gym.Wrapper[Any, Any, Any, Any]):
    """Show the last ``history_len`` observations as one vector, oldest first.

    Observations are made vectors as `policy.observations` does. After a reset the first one stands
    in for those that are not there yet.
    """

    def __init__(self, env: gym.Env[Any, Any], history_len: int) -> None:
        super().__init__(env)
        space = env.observation_space
        self._size, self._encode = observation_encoder(space)
        is_box = isinstance(space, spaces.Box)
        dtype = np.float64 if is_box and space.dtype == np.float64 else np.float32
        low, high = (space.low, space.high) if isinstance(space, spaces.Box) else (0.0, 1.0)
        self._stack: NDArray[Any] = np.zeros(history_len * self._size, dtype=dtype)
        box: spaces.Box[Any] = spaces.Box(
            np.tile(np.broadcast_to(np.ravel(low), self._size), history_len).astype(dtype),
            np.tile(np.broadcast_to(np.ravel(high), self._size), history_len).astype(dtype),
            dtype=dtype,
        )
        self.observation_space = stacked_box(box, space, history_len)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._encode(observation, self._stack[-self._size :])
        self._stack[:] = np.tile(self._stack[-self._size :], len(self._stack) // self._size)
        return self._stack.copy(), info

    def step(self, action: Any) -> StepResult:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._stack[: -self._size] = self._stack[self._size :]
        self._encode(observation, self._stack[-self._size :])
        return self._stack.copy(), reward, terminated, truncated, info
