"""Tasks without velocities: what is hidden, and that nothing else differs."""

from __future__ import annotations

import numpy as np
import pytest

from env.registry import make, time_limit
from env.spec import EnvSpec


@pytest.mark.parametrize(
    ("name", "full_name", "hidden"),
    [
        ("PartiallyObservablePendulum-v0", "Pendulum-v1", [2]),
        ("PartiallyObservableCartPole-v0", "CartPole-v1", [1, 3]),
        ("PartiallyObservableCartPoleEasy-v0", "CartPole-v1", [3]),
    ],
)
def test_hidden_entries_are_zero_and_all_else_is_the_full_task(name, full_name, hidden):
    ours, full = make(EnvSpec(name)), make(EnvSpec(full_name))
    assert ours.observation_space == full.observation_space
    assert ours.action_space == full.action_space
    assert time_limit(EnvSpec(name)) == time_limit(EnvSpec(full_name))
    assert ours.unwrapped is ours
    seen, _ = ours.reset(seed=5)
    expected, _ = full.reset(seed=5)
    full.action_space.seed(1)
    hid_something = False
    for _ in range(12):
        hid_something |= bool(np.any(expected[hidden]))
        expected[hidden] = 0.0
        np.testing.assert_array_equal(seen, expected)
        action = full.action_space.sample()
        seen, *ours_rest = ours.step(action)
        expected, *full_rest = full.step(action)
        assert ours_rest == full_rest
        if full_rest[1]:
            break
    assert hid_something
