"""Actions drawn from the action space: what any training has to beat."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policy.observations import observation_encoder
from policy.statistics import ObservationStatistics


class RandomActor:
    """`policy.actor.Actor` that looks at nothing and draws each action as `Space.sample` does.

    Its theta, of one number, means nothing: a search needs one.

    Args:
        observation_space: not looked at.
        action_space: what is drawn from.
    """

    num_parameters = 1
    is_deterministic = False

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        self.observation_size, _ = observation_encoder(observation_space)
        self._space = copy.deepcopy(action_space)

    def load(self, theta: NDArray[np.float32], statistics: ObservationStatistics | None) -> None:
        """Nothing to load."""

    def reset(self, rng: np.random.Generator) -> None:
        """Draw from here on what ``rng`` says."""
        self._space.seed(int(rng.integers(2**31)))

    def act(self, observation: Any) -> Any:
        """The next action drawn."""
        return self._space.sample()
