"""Memory that Box2D's Python binding forgets: 1.7 kB in each reset of Gymnasium's lander.

A ``b2FixtureDef`` copies the shape that it is given, and nothing ever frees the copy (2.3.10).
At the pace of a fleet that is hundreds of megabytes an hour in each worker.
"""

from __future__ import annotations

import importlib
from typing import Any

_MENDED = "_es_frees_its_shape"


def mend(env: Any) -> None:
    """Have fixture definitions free their shapes from now on, where ``env`` is one of Gymnasium's
    Box2D environments: there nobody holds a definition's shape longer than the definition.
    """
    kinds = type(env.unwrapped).__mro__
    if not any(kind.__module__.startswith("gymnasium.envs.box2d.") for kind in kinds):
        return
    definition = importlib.import_module("Box2D.Box2D").b2FixtureDef
    if hasattr(definition, _MENDED):
        return
    forget = definition.__del__

    def forget_shape_too(self: Any) -> None:
        shape = self.shape
        if shape is not None:
            shape.thisown = True  # the copy goes with this last reference
        forget(self)

    definition.__del__ = forget_shape_too
    setattr(definition, _MENDED, True)
