"""A bare, unwrapped environment and nothing else: ``python -m rivals.bare_rollouts ENV``.

A turn server (`rivals.turn_servers`), started in benchmarks/. It replays the actions that the
policy takes, because what a step costs depends on the state.
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
from measured_run.settings import SETTINGS, first_theta
from rivals.turn_servers import answers, serve

from env import registry
from policy.actor import Actor, build_actor
from search.arithmetic import use_one_thread


def main(name: str) -> None:
    """Serve turns of the environment of this name."""
    out = answers()
    use_one_thread()
    setting = SETTINGS[name]
    env = registry.make(setting.env)
    actor = build_actor(setting.policy, env.observation_space, env.action_space)
    actor.load(first_theta(setting), None)
    seeds = range(setting.bare_episodes)
    episodes = [actions_of(env, actor, seed, setting.max_steps) for seed in seeds]
    serve(lambda seconds: replay(env.unwrapped, episodes, seconds), out)


def actions_of(env: gym.Env[Any, Any], actor: Actor, seed: int, max_steps: int) -> list[Any]:
    """What the policy does in one episode."""
    actor.reset(np.random.default_rng(0))
    observation, _ = env.reset(seed=seed)
    actions = []
    for _ in range(max_steps):
        actions.append(np.array(actor.act(observation)))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        if terminated or truncated:
            break
    return actions


def replay(env: gym.Env[Any, Any], episodes: list[list[Any]], seconds: float) -> float:
    """Steps per second of nothing but reset and step, in whole episodes."""
    num_steps = 0
    start_s = time.perf_counter()
    for seed, actions in itertools.cycle(enumerate(episodes)):
        env.reset(seed=seed)
        for action in actions:
            env.step(action)
        num_steps += len(actions)
        if time.perf_counter() - start_s >= seconds:
            break
    return num_steps / (time.perf_counter() - start_s)


if __name__ == "__main__":
    main(sys.argv[1])
