"""Three random steps, and for some seeds an accident on the second."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray


class Trouble(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """An environment of a user's own.

    Args:
        kind: the method that is the accident.
        seeds: the resets that lead to it.
        folder: where a rollout that waits says so, and where accidents are counted.
        times: how many accidents there are in all processes together; None: no end of them.
        leak_mb: memory lost in each episode.
    """

    observation_space = gymnasium.spaces.Box(-5, 5, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(
        self,
        kind: str = "",
        seeds: Sequence[int] = (),
        folder: str = "",
        times: int | None = None,
        leak_mb: int = 0,
    ) -> None:
        self.kind, self.seeds, self.folder = kind, set(seeds), Path(folder)
        self.times, self.leak_mb = times, leak_mb
        self.leaked: list[bytes] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seed, self.rng, self.steps = seed, np.random.default_rng(seed), 0
        self.leaked.append(b"x" * (self.leak_mb * 2**20))
        return self.observation(), {}

    def observation(self) -> NDArray[np.float32]:
        return self.rng.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action: NDArray[np.float32]) -> Any:
        self.steps += 1
        reward = float(action[0]) + self.rng.normal()
        if self.steps == 2 and self.seed in self.seeds and self.is_due():
            reward += getattr(self, self.kind)() or 0.0
        return self.observation(), reward, self.steps == 3, False, {}

    def is_due(self) -> bool:
        """Whether another accident may happen; this one is counted."""
        if self.times is None:
            return True
        happened = len(list(self.folder.glob("accident-*")))
        if happened < self.times:
            (self.folder / f"accident-{happened}").touch()
        return happened < self.times

    def fail(self) -> None:
        raise ValueError("the knee is inside out")

    def crash(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)

    def segfault(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)

    def nan(self) -> float:
        return float("nan")

    def vanish(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(self) -> None:
        raise SystemExit(3)

    def hang(self) -> None:
        time.sleep(600)

    def dawdle(self) -> None:
        time.sleep(0.03)

    def wait(self) -> None:
        (self.folder / f"waiting-{os.getpid()}").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)


gymnasium.register("Trouble-v0", entry_point="trouble:Trouble", max_episode_steps=100)
