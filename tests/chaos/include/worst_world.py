"""`slow_world.SlowWorld` in which some resets lead to the worst a rollout can do."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gymnasium
import psutil
from slow_world import STEPS, SlowWorld


class WorstWorld(SlowWorld):
    """Args:
    fates: by the name of a method of this class, the seeds whose episodes it befalls.
    """

    def __init__(self, pace: float = 1.0, folder: str = "", **fates: Sequence[int]) -> None:
        super().__init__(pace, folder)
        self.fates = {seed: fate for fate, seeds in fates.items() for seed in seeds}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.fate = self.fates.get(seed or 0, "")
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.fate and self.steps == 1:
            getattr(self, self.fate)()
        return super().step(action)

    def hang(self) -> None:
        time.sleep(600)

    def segfault(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)

    def fail(self) -> None:
        raise ValueError("the knee is inside out")

    def take_all_down(self) -> None:
        """The relay, its Redis, every other worker, and the supervisor.

        It is named by its process id, since our parent is another one, and the parent of many,
        as soon as a rollout beside this one has taken the supervisor down. Not at once: handed out
        together each time, two rollouts of which one crashes as soon as the other takes it down
        are lost together each time, and neither is heard of.
        """
        time.sleep(0.5)
        with suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(int(sys.argv[sys.argv.index("--parent-pid") + 1]))
            family = supervisor.children(recursive=True)
            for process in [supervisor, *(p for p in family if p.pid != os.getpid())]:
                process.send_signal(signal.SIGKILL)
        time.sleep(600)


gymnasium.register("WorstWorld-v0", entry_point="worst_world:WorstWorld", max_episode_steps=STEPS)
