"""Our sphere, whose episodes wait: a run that lasts without keeping a processor busy."""

from __future__ import annotations

import time
from typing import Any

import gymnasium

from env.sphere import Sphere


class SlowSphere(Sphere):
    """Args:
    episode_s: what each episode waits; its reward does not depend on that.
    """

    def __init__(self, episode_s: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self._episode_s = episode_s

    def step(self, action: Any) -> Any:
        time.sleep(self._episode_s)
        return super().step(action)


gymnasium.register("SlowSphere-v0", entry_point="slow_sphere:SlowSphere")
