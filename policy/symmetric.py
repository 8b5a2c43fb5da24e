"""One network for both legs: a policy that does to the left what it does to the right.

The network method of Abdolhosseini et al., "On learning symmetric locomotion" (Motion, Interaction
and Games, 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy.actor import NetworkActor, check_statistics
from policy.mirror import mirror_between
from policy.numpy_network import aligned_zeros
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics


class SymmetricActor(NetworkActor):
    """A feed-forward network that sees the observation and answers for the right side, then sees it
    in the mirror and answers for the left.

    Acting on a mirrored observation gives the mirrored action, to the bit.

    The layers are those of ``feed_forward``, but for an output layer of half the size. Of 339
    observations and 22 actions, ``hidden_sizes=[64, 64]`` has 26,635 parameters (``feed_forward``:
    27,350). ``[32, 32]`` runs as many units in a step, 32 a side in each layer, as ``feed_forward``
    does with ``[64, 64]``, and has 12,299 parameters: less than half. Without a hidden layer it has
    exactly half.

    Observations are normalised with the moments of what the network sees, that is of the
    observations and their images together (`policy.mirror.Mirror.pooled`).

    Stochastic activations draw for the right side, then for the left: mirrored in distribution.

    Raises `ConfigError` when the observation space has no mirror, or the actions are not its pairs.
    """

    def __init__(
        self,
        spec: PolicySpec,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
    ) -> None:
        self._mirror = mirror_between(observation_space, action_space)
        super().__init__(spec, observation_space, action_space)
        size_out = len(self._outputs)
        self._index = np.array(self._mirror.observation_index)
        self._signs = np.array(self._mirror.observation_sign, dtype=np.float32)
        self._image = aligned_zeros(self.observation_size)
        self._sides = aligned_zeros(2 * size_out)
        self._right, self._left = self._sides[:size_out], self._sides[size_out:]
        # Places of the actions among the outputs, right side first.
        self._places = np.argsort([*self._mirror.right_actions, *self._mirror.left_actions])

    def load(self, theta: NDArray[np.float32], statistics: ObservationStatistics | None) -> None:
        """As `Actor.load`."""
        if statistics is not None and statistics.count > 1:
            check_statistics(statistics, self.observation_size)
            statistics = self._mirror.pooled(statistics)
        super().load(theta, statistics)

    def act(self, observation: Any) -> Any:
        """As `Actor.act`."""
        inputs, image = self._inputs, self._image
        self._encode(observation, inputs)
        inputs.take(self._index, 0, image, "clip")  # into `image` itself: "raise" would copy first
        self._run()
        self._right[:] = self._outputs
        np.multiply(image, self._signs, inputs)
        self._run()
        self._left[:] = self._outputs
        return self._to_action(self._sides.take(self._places))
