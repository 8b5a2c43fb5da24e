"""Three random steps, and for some seeds an accident on the second."""

from __future__ import annotations

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
        folder: where a rollout that waits says so.
        leak_mb: memory lost in each episode.
    """

    observation_space = gymnasium.spaces.Box(-5, 5, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(
        self, kind: str = "", seeds: Sequence[int] = (), folder: str = "", leak_mb: int = 0
    ) -> None:
        self.kind, self.seeds, self.folder = kind, set(seeds), Path(folder)
        self.leak_mb = leak_mb
        self.leaked: list[bytes] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seed, self.rng, self.steps = seed, np.random.default_rng(seed), 0
        self.leaked.append(b"x" * (self.leak_mb * 2**20))
        return self.observation(), {}

    def observation(self) -> NDArray[np.float32]:
        return self.rng.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action: NDArray[np.float32]) -> Any:
        self.steps += 1
        if self.steps == 2 and self.seed in self.seeds:
            getattr(self, self.kind)()
        return self.observation(), float(action[0]) + self.rng.normal(), self.steps == 3, False, {}

    def fail(self) -> None:
        raise ValueError("the knee is inside out")

    def crash(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)

    def hang(self) -> None:
        time.sleep(600)

    def wait(self) -> None:
        (self.folder / f"waiting-{os.getpid()}").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)


gymnasium.register("Trouble-v0", entry_point="trouble:Trouble", max_episode_steps=100)
