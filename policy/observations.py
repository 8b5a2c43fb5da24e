"""Observations as vectors: what a policy sees of each kind of Gymnasium space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from errors import ConfigError

Encode = Callable[[Any, NDArray[Any]], None]
"""Write an observation into a float vector of the encoder's size."""


def observation_encoder(space: spaces.Space[Any]) -> tuple[int, Encode]:
    """The length of ``space``'s vector, and the function that writes one.

    ``Box`` is flattened row by row, ``Discrete`` is one-hot, ``MultiBinary`` is zeros and ones,
    ``MultiDiscrete`` is one one-hot block after the other.

    Raises `ConfigError` for every other kind.
    """
    if isinstance(space, spaces.Box):
        size = int(np.prod(space.shape))
        if size == 0:
            raise ConfigError(f"observation space {space} has no entry: a policy needs at least 1")
        return size, _copy if len(space.shape) == 1 else _flatten
    if isinstance(space, spaces.Discrete):
        return int(space.n), _one_hot(np.zeros(1, np.int64), np.array([space.start]))
    if isinstance(space, spaces.MultiBinary):
        return int(np.prod(space.shape)), _flatten
    if isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.ravel()
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return int(sizes.sum()), _one_hot(offsets, space.start.ravel())
    raise ConfigError(
        f"observation space of kind {type(space).__name__} is not supported: expected Box, "
        "Discrete, MultiBinary or MultiDiscrete; wrap the env with "
        "gymnasium.wrappers.FlattenObservation"
    )


def _copy(observation: Any, target: NDArray[Any]) -> None:
    target[:] = observation


def _flatten(observation: Any, target: NDArray[Any]) -> None:
    target[:] = np.reshape(observation, -1)


def _one_hot(offsets: NDArray[Any], starts: NDArray[Any]) -> Encode:
    shift = offsets - starts

    def encode(observation: Any, target: NDArray[Any]) -> None:
        target.fill(0.0)
        target[np.reshape(observation, -1) + shift] = 1.0

    return encode
