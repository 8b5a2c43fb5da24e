"""When an episode has succeeded, where its environment says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from env import registry
from env.spec import EnvSpec


@dataclass(frozen=True)
class Success:
    """What an episode must come to; what is ``None`` does not matter.

    Attributes:
        least_reward: summed.
        least_steps: of the simulator.
    """

    least_reward: float | None = None
    least_steps: int | None = None

    def is_reached(self, reward: float, steps: int) -> bool:
        """Whether an episode of that reward and length has succeeded."""
        pays = self.least_reward is None or reward >= self.least_reward
        return pays and (self.least_steps is None or steps >= self.least_steps)

    def __str__(self) -> str:
        if self.least_steps is not None:
            return f"lasts {self.least_steps} steps"
        return f"reward at least {self.least_reward:g}"


def success_of(spec: EnvSpec, include: Path | None = None) -> Success | None:
    """What makes an episode a success: that it does not end before its time, where a fall ends it
    (our walkers and cart-poles), or the ``reward_threshold`` that an environment was registered
    with. ``None`` where nobody says, or where ``spec.max_ep_length`` cuts episodes off before.

    Raises as `registry.make` does for an unknown name.
    """
    if not registry.ends_by_falling(spec):
        threshold = registry.reward_threshold(spec, include)
        return None if threshold is None else Success(least_reward=threshold)
    whole = msgspec.structs.replace(spec, max_ep_length=None)
    steps = registry.time_limit(whole, include)
    if steps is None or (spec.max_ep_length or steps) < steps:
        return None
    return Success(least_steps=steps)
