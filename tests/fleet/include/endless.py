"""An environment whose episodes last until they are no longer wanted."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import gymnasium
from trouble import Trouble


class Endless(Trouble):
    """Steps that take a while, and no end of them in some rollouts.

    Args:
        seeds: the resets of which there is no end.
        folder: where each of those says that it has begun.
    """

    def step(self, action: Any) -> Any:
        if self.seed not in self.seeds:
            return super().step(action)
        (self.folder / f"begun-{os.getpid()}-{self.seed}").touch()
        time.sleep(0.005)
        return self.observation(), 0.0, False, False, {}


gymnasium.register("Endless-v0", entry_point="endless:Endless", max_episode_steps=10**7)


class Regicide(Trouble):
    """`Trouble` that befalls the supervisor of its process."""

    def take_all_down(self) -> None:
        os.kill(int(sys.argv[sys.argv.index("--parent-pid") + 1]), signal.SIGKILL)
        time.sleep(600)


gymnasium.register("Regicide-v0", entry_point="endless:Regicide", max_episode_steps=100)


class Clinging(Trouble):
    """`Trouble` that cannot be closed."""

    def close(self) -> None:
        time.sleep(600)


gymnasium.register("Clinging-v0", entry_point="endless:Clinging", max_episode_steps=100)
