"""When an episode has succeeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from env.spec import EnvSpec
from env.success import Success, success_of


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (EnvSpec("LunarLanderContinuous-v3"), Success(least_reward=200.0)),
        (EnvSpec("CartPole-v1", max_ep_length=20), Success(least_reward=475.0)),
        (EnvSpec("Pendulum-v1"), None),
        (EnvSpec("Sphere-v0"), None),
        (EnvSpec("OpenSimArm2D-v0"), None),
        (EnvSpec("OpenSimWalk2D-v0"), Success(least_steps=1000)),
        (EnvSpec("OpenSimWalk2D-v0", options={"difficulty": 3}), Success(least_steps=2500)),
        (EnvSpec("OpenSimRun-v0", options={"time_limit_steps": 500}), Success(least_steps=500)),
        (EnvSpec("OpenSimWalk2D-v0", max_ep_length=1000), Success(least_steps=1000)),
        # An episode that is cut off before its time may still have fallen.
        (EnvSpec("OpenSimWalk2D-v0", max_ep_length=999), None),
    ],
)
def test_an_environment_says_what_a_success_is(spec: EnvSpec, expected: Success | None) -> None:
    assert success_of(spec) == expected


def test_an_environment_of_the_users_own_says_it_when_it_is_registered(tmp_path: Path) -> None:
    (tmp_path / "solvable_env.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Solvable-v0', 'solvable_env:Solvable', reward_threshold=7)\n"
    )
    assert success_of(EnvSpec("solvable_env:Solvable-v0"), tmp_path) == Success(least_reward=7.0)


def test_a_success_is_reached_from_its_limit_on() -> None:
    assert Success(least_reward=200).is_reached(200.0, 1)
    assert not Success(least_reward=200).is_reached(199.9, 1000)
    assert Success(least_steps=1000).is_reached(-5.0, 1000)
    assert not Success(least_steps=1000).is_reached(500.0, 999)
    assert str(Success(least_reward=-3.75)) == "reward at least -3.75"
    assert str(Success(least_steps=1000)) == "lasts 1000 steps"
