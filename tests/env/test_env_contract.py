"""What every environment must keep, ours and those of the named configs. Add a name here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from env.registry import OWN_ENVS, is_deterministic, make, time_limit
from env.rollout import run_episode
from env.spec import EnvSpec
from errors import EnvUnavailable
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

NAMES = [
    *OWN_ENVS,
    "LunarLanderContinuous-v3",
    "Pendulum-v1",
    "CartPole-v1",
    "Ant-v5",
    "Hopper-v5",
    "HalfCheetah-v5",
    "Walker2d-v5",
    "Humanoid-v5",
    "Reacher-v5",
]
OPENSIM = [name for name in OWN_ENVS if name.startswith("OpenSim")]
OPTIONS = {name: {"preset": "fast"} for name in OPENSIM}
OPTIONS["OpenSimModel-v0"] |= {"model": "arm26.osim", "reward": "own_rewards:forward"}
MAX_STEPS = dict.fromkeys(OPENSIM, 15)
INCLUDE = Path(__file__).parent / "include"


def spec_of(name: str) -> EnvSpec:
    return EnvSpec(name, options=OPTIONS.get(name, {}))


def made(name: str):
    try:
        return make(spec_of(name), include=INCLUDE)
    except EnvUnavailable as missing:
        pytest.skip(str(missing))


def actor_for(env):
    spec = PolicySpec("feed_forward", (16,))
    actor = build_actor(spec, env.observation_space, env.action_space)
    actor.load(initial_theta(spec, env.observation_space, env.action_space, 2), None)
    return actor


def trace(env, seed: int, num_steps: int) -> bytes:
    """All observations and rewards of an episode, to the bit."""
    actor = actor_for(env)
    actor.reset(np.random.default_rng(0))
    observation, _ = env.reset(seed=seed)
    parts = [np.asarray(observation, np.float64).tobytes()]
    for _ in range(num_steps):
        observation, reward, terminated, truncated, _ = env.step(actor.act(observation))
        parts += [np.asarray(observation, np.float64).tobytes(), np.float64(reward).tobytes()]
        if terminated or truncated:
            break
    return b"".join(parts)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_episode_to_the_bit(name):
    env = made(name)
    num_steps = MAX_STEPS.get(name, 60)
    first = trace(env, 17, num_steps)
    trace(env, 99, num_steps // 2 + 1)  # stopped mid-way, at another seed
    assert trace(env, 17, num_steps) == first
    fresh = made(name)
    assert trace(fresh, 17, num_steps) == first
    for each in (env, fresh):
        each.close()


@pytest.mark.parametrize("name", NAMES)
def test_other_seeds_give_other_episodes_unless_it_is_called_deterministic(name):
    env = made(name)
    num_steps = MAX_STEPS.get(name, 20)
    same = trace(env, 1, num_steps) == trace(env, 2, num_steps)
    assert same == is_deterministic(spec_of(name))
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_to_what_it_declares(name):
    env = made(name)
    actor = actor_for(env)
    actor.reset(np.random.default_rng(0))
    observation, info = env.reset(seed=3)
    assert isinstance(info, dict)
    for _ in range(5):
        assert np.shape(observation) == env.observation_space.shape
        assert np.asarray(observation).dtype == env.observation_space.dtype
        action = actor.act(observation)
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        assert np.isfinite(float(reward))
        if terminated or truncated:
            break
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_rollout_of_it_has_a_fitness_and_keeps_to_its_cap(name):
    env = made(name)
    cap = MAX_STEPS.get(name, 30)
    episode = run_episode(env, actor_for(env), seed=1, policy_seed=1, max_steps=cap, observe=True)
    assert np.isfinite(episode.fitness)
    assert 1 <= episode.length <= min(cap, time_limit(spec_of(name)) or cap)
    assert episode.statistics is not None
    assert episode.statistics.count == episode.length
    env.close()
