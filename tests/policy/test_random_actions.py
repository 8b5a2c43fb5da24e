"""The controller that every training has to beat."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

SPEC = PolicySpec("random")
OBSERVATIONS = spaces.Box(-1, 1, (3,), np.float64)


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 1, (18,), np.float32), spaces.Discrete(4), spaces.MultiBinary(3)]
)
def test_actions_lie_in_the_space_and_are_the_same_for_the_same_seed(
    space: spaces.Space[np.ndarray],
) -> None:
    actor = build_actor(SPEC, OBSERVATIONS, space)
    actor.load(initial_theta(SPEC, OBSERVATIONS, space, 1), None)

    def episode(seed: int) -> list[np.ndarray]:
        actor.reset(np.random.Generator(np.random.Philox(seed)))
        return [np.asarray(actor.act(np.zeros(3))) for _ in range(20)]

    first, again, other = episode(1), episode(1), episode(2)
    assert all(space.contains(action.astype(space.dtype)) for action in first if action.ndim)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({action.tobytes() for action in first}) > 1


def test_it_is_known_to_be_random() -> None:
    assert not build_actor(SPEC, OBSERVATIONS, spaces.Discrete(2)).is_deterministic
