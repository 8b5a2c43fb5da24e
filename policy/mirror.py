"""Left and right: how observations and actions of a symmetric body look in a mirror.

A walker seen in a mirror walks too: its right leg does what the left one did. An environment of
such a body declares the mirror in its observation space, and policies that know it (``symmetric``)
need one leg's worth of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsInt

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from errors import ConfigError
from policy.statistics import ObservationStatistics


@dataclass(frozen=True)
class Mirror:
    """How an observation and an action look in the mirror.

    ``mirrored_o[i] = observation_sign[i] * o[observation_index[i]]``; for actions,
    ``right_actions[k]`` and ``left_actions[k]`` change places.

    Any sequence is taken, arrays too, and kept as a tuple.

    Attributes:
        observation_index: O places, a permutation of 0..O-1.
        observation_sign: O signs, 1 or -1.
        right_actions: places in the action of the right side, A/2 of them.
        left_actions: places of the same muscles or motors on the left, in the same order.

    Raises `ValueError` unless mirroring twice is the identity, and right and left are disjoint and
    together all actions 0..A-1.
    """

    observation_index: Sequence[int]
    observation_sign: Sequence[float]
    right_actions: Sequence[int]
    left_actions: Sequence[int]

    def __post_init__(self) -> None:
        for name in ("observation_index", "right_actions", "left_actions"):
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        signs = tuple(float(sign) for sign in self.observation_sign)
        object.__setattr__(self, "observation_sign", signs)
        index, size = self.observation_index, len(self.observation_index)
        if len(signs) != size or not size:
            raise ValueError(f"mirror of {size} places and {len(signs)} signs: expected as many")
        if not set(signs) <= {1.0, -1.0}:
            raise ValueError("signs of a mirror must be 1 or -1")
        if sorted(index) != list(range(size)):
            raise ValueError(f"places of a mirror must be a permutation of 0..{size - 1}")
        for i, j in enumerate(index):
            if index[j] != i or signs[i] != signs[j]:
                raise ValueError(f"mirroring twice does not give back entry {i}, which mirrors {j}")
        right, left = self.right_actions, self.left_actions
        if len(right) != len(left) or not right:
            raise ValueError(f"mirror of {len(right)} right and {len(left)} left actions")
        if sorted((*right, *left)) != list(range(2 * len(right))):
            raise ValueError(
                f"right and left actions of a mirror must be disjoint and make up "
                f"0..{2 * len(right) - 1}"
            )

    @property
    def observation_size(self) -> int:
        """O."""
        return len(self.observation_index)

    @property
    def action_size(self) -> int:
        """A."""
        return 2 * len(self.right_actions)

    def observation(self, observation_o: NDArray[Any]) -> NDArray[Any]:
        """``(O,)`` as seen in the mirror, a new array of the same float dtype."""
        values_o: NDArray[Any] = np.asarray(observation_o)[list(self.observation_index)]
        values_o *= np.asarray(self.observation_sign, dtype=values_o.dtype)
        return values_o

    def action(self, action_a: NDArray[Any]) -> NDArray[Any]:
        """``(A,)`` with the sides changed, a new array."""
        values_a: NDArray[Any] = np.array(action_a)
        right, left = list(self.right_actions), list(self.left_actions)
        values_a[right], values_a[left] = np.take(action_a, left), np.take(action_a, right)
        return values_a

    def stacked(self, count: int) -> Mirror:
        """The mirror of ``count`` observations, one after the other."""
        size = self.observation_size
        index = [k * size + i for k in range(count) for i in self.observation_index]
        signs = tuple(self.observation_sign) * count
        return Mirror(index, signs, self.right_actions, self.left_actions)

    def pooled(self, statistics: ObservationStatistics) -> ObservationStatistics:
        """Moments of the observations of ``statistics`` and of their mirror images together.

        Symmetric to the bit: normalising with them and mirroring may change places.

        Raises `ValueError` when the statistics are of vectors of another size.
        """
        mean_o, m2_o = statistics.mean_o, statistics.m2_o
        if mean_o.shape != (self.observation_size,):
            raise ValueError(f"statistics of {len(mean_o)}, mirror of {self.observation_size}")
        seen_o = self.observation(mean_o)
        # Not by `merged`, whose rounding tells the first part from the second.
        between_o = (mean_o - seen_o) ** 2 * (statistics.count / 2)
        within_o = m2_o + m2_o[list(self.observation_index)]
        return ObservationStatistics.of(
            2 * statistics.count, (mean_o + seen_o) / 2, within_o + between_o
        )


class MirroredBox(spaces.Box[Any]):
    """A `gymnasium.spaces.Box` of one axis, whose environment has a plane of symmetry.

    Two are equal where their mirrors are, too; to a plain ``Box`` it is equal as a ``Box`` is.

    Args:
        low, high, shape, dtype, seed: as ``Box`` takes them.
        mirror: `Mirror` of its observations, and of the actions of the environment.

    Raises `ValueError` where the mirror is of another size, or takes an observation out of bounds.
    """

    def __init__(
        self,
        low: Any,
        high: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = np.float32,
        seed: int | np.random.Generator | None = None,
        *,
        mirror: Mirror,
    ) -> None:
        super().__init__(low, high, None if shape is None else tuple(shape), dtype, seed)
        if self.shape != (mirror.observation_size,):
            raise ValueError(
                f"mirror of {mirror.observation_size} entries for a box of shape {self.shape}"
            )
        index, signs = list(mirror.observation_index), np.asarray(mirror.observation_sign)
        mirrored_low = np.where(signs > 0, self.low[index], -self.high[index])
        mirrored_high = np.where(signs > 0, self.high[index], -self.low[index])
        if (mirrored_low != self.low).any() or (mirrored_high != self.high).any():
            raise ValueError("bounds of a mirrored box must look the same in the mirror")
        self.mirror = mirror

    def __eq__(self, other: object, /) -> bool:
        same = not isinstance(other, MirroredBox) or self.mirror == other.mirror
        return same and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as Box has none

    def __repr__(self) -> str:
        return f"Mirrored{super().__repr__()}"


def mirror_between(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> Mirror:
    """The mirror that an environment of these spaces declares.

    Raises `ConfigError` when it declares none, or when an action's bounds are not those of its
    image.
    """
    if not isinstance(observation_space, MirroredBox):
        raise ConfigError(
            "network=symmetric needs an environment that says what its left and right are, such as "
            "OpenSimWalk2D-v0; this one does not: use network=feed_forward, or give it a "
            "policy.mirror.MirroredBox"
        )
    mirror = observation_space.mirror
    if not isinstance(action_space, spaces.Box) or action_space.shape != (mirror.action_size,):
        raise ConfigError(
            f"network=symmetric: the environment's mirror is of {mirror.action_size} actions, and "
            f"its action space is {type(action_space).__name__} of shape {action_space.shape}: "
            "expected a Box of that many"
        )
    for bound in (action_space.low, action_space.high):
        if not np.array_equal(mirror.action(bound), bound):
            raise ConfigError(
                "network=symmetric: some right action of this environment has other bounds than "
                "the left one: expected the same"
            )
    return mirror


def stacked_box(box: spaces.Box, source: spaces.Space[Any], count: int) -> spaces.Box:
    """``box``, which holds ``count`` observations of ``source`` one after the other: with the
    mirror of all of them where ``source`` has one.
    """
    if not isinstance(source, MirroredBox):
        return box
    mirror = source.mirror.stacked(count)
    return MirroredBox(box.low, box.high, dtype=box.dtype, mirror=mirror)


def _integers(name: str, values: Sequence[SupportsInt]) -> tuple[int, ...]:
    numbers = tuple(int(value) for value in values)
    if any(number != value for number, value in zip(numbers, values, strict=True)):
        raise ValueError(f"{name} of a mirror must be integers")
    return numbers
