"""An episode that nobody wants ends in the middle, and leaves the environment as good as new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from env.registry import make
from env.rollout import EpisodeAbandoned, run_episode
from env.spec import EnvSpec
from policy.actor import Actor, build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

FAST: dict[str, Any] = {"preset": "fast"}
SPECS = [
    EnvSpec("LunarLanderContinuous-v3"),
    EnvSpec("HalfCheetah-v5", frame_skip=2, history_len=2),
    EnvSpec("OpenSimWalk2D-v0", options=FAST),
    EnvSpec("OpenSimArm2D-v0", options=FAST),
]
MAX_STEPS = 15


def after(asked: int) -> Callable[[], bool]:
    """True from the so-manyth asking on."""
    answers = iter([False] * asked)
    return lambda: next(answers, True)


def made(spec: EnvSpec) -> tuple[Any, Actor]:
    env = make(spec)
    policy = PolicySpec("gru", (4,))
    actor = build_actor(policy, env.observation_space, env.action_space)
    actor.load(initial_theta(policy, env.observation_space, env.action_space, 3), None)
    return env, actor


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_an_episode_after_an_abandoned_one_is_the_same_to_the_bit(spec: EnvSpec) -> None:
    same: dict[str, Any] = {
        "seed": 5,
        "policy_seed": 1,
        "max_steps": MAX_STEPS,
        "frame_skip": spec.frame_skip,
        "observe": True,
    }
    env, actor = made(spec)
    for asked in (0, 1, 2):
        with pytest.raises(EpisodeAbandoned):
            run_episode(env, actor, **same | {"seed": asked}, abandoned=after(asked))
    again = run_episode(env, actor, **same, abandoned=lambda: False)
    env.close()
    env, actor = made(spec)
    first = run_episode(env, actor, **same)
    env.close()
    assert again == first
    assert first.length > 8
