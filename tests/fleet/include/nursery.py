"""An environment that starts a process of its own, and lets nobody else in its own move."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

# Not a word of what a closed terminal or a polite request says is heeded.
STUBBORN = "trap '' HUP INT TERM; sleep 300; sleep 300"


class Nursery(gymnasium.Env[Any, Any]):
    """Writes into ``folder`` which process it has started, and stays in C++ with the GIL."""

    observation_space = gymnasium.spaces.Box(-5, 5, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, folder: str = "") -> None:
        self.folder = Path(folder)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        started = subprocess.Popen(["/bin/sh", "-c", STUBBORN])
        beside = self.folder / f"new-{os.getpid()}"
        beside.write_text(str(started.pid))
        beside.rename(self.folder / f"started-by-{os.getpid()}")
        ctypes.PyDLL(None).sleep(300)
        return np.zeros(2, np.float32), 0.0, True, False, {}


gymnasium.register("Nursery-v0", entry_point="nursery:Nursery", max_episode_steps=100)
