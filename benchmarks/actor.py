"""What a policy and our loop cost beside the simulator, on one core.

``python benchmarks/actor.py`` prints steps per second of the bare, unwrapped environment, of
`env.rollout.run_episode` with a policy, and their ratio: medians of rounds that take turns, so that
a busy machine slows both alike.

The bare loop replays the actions that the policy takes in the very episodes it is compared with:
what a step costs depends on the state, and so both go through the same states.

Then what an action alone costs between a walker's observations and its muscles: ``symmetric`` runs
its network twice.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import click
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rivals.bare_rollouts import actions_of

from env import registry
from env.rollout import run_episode
from env.spec import EnvSpec
from policy.actor import Actor, build_actor
from policy.mirror import Mirror, MirroredBox
from policy.parameters import initial_theta
from policy.spec import PolicySpec

ROUNDS = 9
EPISODE_STEPS = 500
WALKER_SIZE = 339
EPISODES = {"LunarLanderContinuous-v3": 40, "HalfCheetah-v5": 8}


@click.command()
def main() -> None:
    """Print a line for each environment and policy."""
    print(f"{'environment':26}{'policy':14}{'bare/s':>10}{'ours/s':>10}{'ratio':>8}")
    for name, num_episodes in EPISODES.items():
        for label, policy in {
            "64x64 tanh": PolicySpec(),
            "normalised": PolicySpec(normalize_observations=True),
            "lstm 16": PolicySpec("lstm", (16,)),
        }.items():
            bare, ours, ratio = compare(EnvSpec(name), policy, num_episodes)
            print(f"{name:26}{label:14}{bare:10,.0f}{ours:10,.0f}{ratio:8.2f}")
    print(f"\n{'339 numbers to 22 muscles':26}{'parameters':>14}{'us/action':>12}{'ratio':>8}")
    costs = walker_costs(("feed_forward", "symmetric"))
    for name, (num_parameters, cost_us) in costs.items():
        ratio = cost_us / costs["feed_forward"][1]
        print(f"{name:26}{num_parameters:14,}{cost_us:12.2f}{ratio:8.2f}")


def walker_costs(networks: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Parameters, and the median of the rounds' microseconds an action, of 64x64 networks."""
    # Which entry mirrors which makes no difference to the time.
    mirror = Mirror(range(WALKER_SIZE)[::-1], [1.0] * WALKER_SIZE, range(11), range(11, 22))
    seen = MirroredBox(-np.inf, np.inf, (WALKER_SIZE,), np.float64, mirror=mirror)
    muscles = spaces.Box(0.0, 1.0, (mirror.action_size,), np.float32)
    observations = np.random.default_rng(0).normal(size=(1000, WALKER_SIZE))
    actors = {}
    for name in networks:
        actors[name] = actor = build_actor(PolicySpec(name), seen, muscles)
        actor.load(initial_theta(PolicySpec(name), seen, muscles, 1), None)
        actor.reset(np.random.default_rng(0))
    costs_us: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS):
        for name, actor in actors.items():
            start = time.perf_counter()
            for observation in observations:
                actor.act(observation)
            costs_us[name].append((time.perf_counter() - start) / len(observations) * 1e6)
    return {
        name: (actors[name].num_parameters, statistics.median(costs_us[name])) for name in networks
    }


def compare(spec: EnvSpec, policy: PolicySpec, num_episodes: int) -> tuple[float, float, float]:
    """Median steps/s of the bare loop and of ours, and the median of the rounds' ratios."""
    env = registry.make(spec)
    actor = build_actor(policy, env.observation_space, env.action_space)
    theta = initial_theta(policy, env.observation_space, env.action_space, 1)
    actor.load(theta, None)
    observed = run_episode(env, actor, seed=0, policy_seed=0, max_steps=200, observe=True)
    actor.load(theta, observed.statistics)
    actions_of_episodes = [
        actions_of(env, actor, seed, EPISODE_STEPS) for seed in range(num_episodes)
    ]
    bare, ours, ratios = [], [], []
    for _ in range(ROUNDS):
        bare.append(replay(env.unwrapped, actions_of_episodes))
        ours.append(roll(env, actor, num_episodes))
        ratios.append(ours[-1] / bare[-1])
    env.close()
    return statistics.median(bare), statistics.median(ours), statistics.median(ratios)


def replay(env: gym.Env[Any, Any], actions_of_episodes: list[list[Any]]) -> float:
    """Steps per second of nothing but reset and step."""
    num_steps = 0
    start = time.perf_counter()
    for seed, actions in enumerate(actions_of_episodes):
        env.reset(seed=seed)
        for action in actions:
            env.step(action)
        num_steps += len(actions)
    return num_steps / (time.perf_counter() - start)


def roll(env: gym.Env[Any, Any], actor: Actor, num_episodes: int) -> float:
    """Steps per second of our own loop."""
    num_steps = 0
    start = time.perf_counter()
    for seed in range(num_episodes):
        episode = run_episode(env, actor, seed=seed, policy_seed=0, max_steps=EPISODE_STEPS)
        num_steps += episode.length
    return num_steps / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
