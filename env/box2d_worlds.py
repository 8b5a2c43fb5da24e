"""What an episode of Gymnasium's walker leaves to the next: a Box2D world with its solver's memory.

`BipedalWalker-v3` and its hardcore sibling keep one world for all episodes, so that the same
actions end elsewhere after another episode. Gymnasium's lander makes a new world at each reset, for
this reason; here so do they.
"""

from __future__ import annotations

import importlib
from typing import Any

_WALKER = "gymnasium.envs.box2d.bipedal_walker"


def renew(env: Any) -> None:
    """Have each reset begin in a new world, where ``env`` is one of those."""
    walker = env.unwrapped
    if type(walker).__module__ != _WALKER:
        return
    box2d, reset = importlib.import_module("Box2D"), walker.reset

    def reset_in_a_new_world(**given: Any) -> Any:
        walker._destroy()
        walker.world, walker.hull = box2d.b2World(), None
        return reset(**given)

    walker.reset = reset_in_a_new_world
