"""Actions from network outputs, for each kind of Gymnasium action space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from errors import ConfigError

ToAction = Callable[[NDArray[np.float32]], Any]
"""From the network's ``(A,)`` float32 output to an action, always a new object: an environment may
keep the last action, and would see it change under its hands otherwise."""


def action_decoder(space: spaces.Space[Any], *, within_one: bool) -> tuple[int, ToAction]:
    """A, and the function that turns A outputs into an action of ``space``.

    ``Box``: outputs from -1 to 1 are stretched to reach from ``low`` to ``high`` where both are
    finite, taken as they are elsewhere, and clipped. ``Discrete``: the index of the largest output,
    the first of equals. ``MultiDiscrete``: that for each block. ``MultiBinary``: output > 0.

    So a muscle excitation, in [0, 1], is 0.5 + y/2 of output y, whatever the output activation:
    around half for an untrained network. With ``tanh`` it is the logistic function of twice the
    sum; with ``discrete`` a whole tenth; with ``none`` a straight line that is cut off at 0 and 1;
    with ``relu``, hardly ever negative, it leaves out the lower half.

    Args:
        space: the action space.
        within_one: outputs never leave [-1, 1], which spares clipping.

    Raises `ConfigError` for every other kind.
    """
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return int(np.prod(space.shape)), _box_decoder(space, within_one)
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return int(space.n), lambda outputs: start + int(outputs.argmax())
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum()), _multi_discrete_decoder(space)
    if isinstance(space, spaces.MultiBinary):
        shape = space.shape
        return int(np.prod(shape)), lambda outputs: (outputs > 0).astype(np.int8).reshape(shape)
    raise ConfigError(
        f"action space {space} is not supported: expected a Box of floats, Discrete, MultiDiscrete "
        "or MultiBinary"
    )


def _box_decoder(space: spaces.Box, within_one: bool) -> ToAction:
    low, high = (bound.ravel().astype(np.float32) for bound in (space.low, space.high))
    bounded = np.isfinite(low) & np.isfinite(high)
    scale = np.where(bounded, (high - np.where(bounded, low, 0)) / 2, 1).astype(np.float32)
    offset = np.where(bounded, (high + np.where(bounded, low, 0)) / 2, 0).astype(np.float32)
    identity = bool(np.all(scale == 1) and np.all(offset == 0))
    clips = not np.all(np.isinf(low) & np.isinf(high)) and not (identity and within_one)
    add, maximum, minimum, multiply = np.add, np.maximum, np.minimum, np.multiply

    def decode(outputs: NDArray[np.float32]) -> Any:
        if identity:
            action = outputs.copy()
        else:
            action = multiply(outputs, scale)
            add(action, offset, action)
        if clips:
            maximum(action, low, action)
            minimum(action, high, action)
        return action

    if len(space.shape) == 1 and space.dtype == np.float32:
        return decode
    # Bounds of another type may lie a hair within what they are as float32.
    shape, dtype, lowest, highest = space.shape, space.dtype, space.low, space.high
    return lambda outputs: np.clip(decode(outputs).astype(dtype).reshape(shape), lowest, highest)


def _multi_discrete_decoder(space: spaces.MultiDiscrete) -> ToAction:
    ends = np.cumsum(space.nvec.ravel())
    starts = space.start.ravel()

    def decode(outputs: NDArray[np.float32]) -> Any:
        blocks = np.split(outputs, ends[:-1])
        choices = np.array([block.argmax() for block in blocks], dtype=space.dtype)
        return (choices + starts).astype(space.dtype).reshape(space.shape)

    return decode
