"""The Ray pool beside the Redis pool, the serial one, and a plain loop over Ray.

``python benchmarks/ray_pool.py`` prints simulator steps per second of each, in turns within one
run, so that a busy machine slows all alike. A turn is whole generations of the same search, asked,
evaluated and told. The plain loop asks, has Ray run one task for each candidate, waits for all of
them and tells; each task builds the environment and the policy (in torch, where it is a network)
anew. ``overlap`` is the Ray pool with the next generation open while one completes, which a loop in
lock-step cannot have.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from measured_run.settings import (
    SETTINGS,
    Setting,
    experiment_of,
    first_theta,
    search_from,
)
from numpy.typing import NDArray

from env import registry
from env.spec import EnvSpec
from fleet.actors.cluster import connected
from fleet.connection import connect
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers, num_cores
from fleet.serial_pool import SerialPool
from fleet.server.redis_server import RedisServer
from policy.actions import action_decoder
from policy.actor import build_actor, network_between
from policy.spec import PolicySpec
from search.arithmetic import use_one_thread
from search.candidates import write_candidate
from search.evaluator import Evaluator
from search.messages import Experiment
from search.noise import DEFAULT_LENGTH, DEFAULT_SEED, NoiseTable, open_table
from search.protocol import Pool
from search.run_state import RunState
from search.seeds import rollout_seeds

WALK = "OpenSimWalk2D-v0"
CASES = {
    "lander": SETTINGS["LunarLanderContinuous-v3"]._replace(
        policy=PolicySpec("linear", ()), num_validation=0
    ),
    "walk2d": SETTINGS[WALK]._replace(policy=PolicySpec(), pop_size=16, max_steps=1000),
}
TARGETS = {"lander": 3.0, "walk2d": 1.15}
PLAIN = "plain loop"

Turn = Callable[[float], float]
"""Goes on for so many seconds, in whole generations, and gives steps per second."""


@click.command()
@click.option(
    "--case",
    "cases",
    type=click.Choice(list(CASES)),
    multiple=True,
    help="One alone; may come again.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=4.0, show_default=True, help="Least length of a turn.")
def main(cases: tuple[str, ...], rounds: int, seconds: float) -> None:
    """Measure the pools and the plain loop in turns."""
    use_one_thread()
    cores = num_cores()
    # The plain loop's tasks find processors free while our actors hold theirs and rest.
    with connected(None, workers=2 * cores):
        print(f"{cores} cores, load {os.getloadavg()[0]:.1f}; steps/s, medians of {rounds} rounds")
        for case in cases or CASES:
            shown(case, measured(CASES[case], cores, rounds, seconds))


def shown(case: str, rates: Mapping[str, list[float]]) -> None:
    """Print one case: each contender's median, and that of the rounds' ratios to the plain loop."""
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates[PLAIN], strict=True))
        target = f"target >= {TARGETS[case]}" if name == "ray" else ""
        rate = statistics.median(found)
        print(f"{case:10}{name:14}{rate:12,.0f}{ratio:8.2f} x plain  {target}", flush=True)
    print(f"{'':10}load {os.getloadavg()[0]:.1f}")


def measured(setting: Setting, cores: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Steps per second of each contender in each round; a short turn to warm up comes first."""
    with ExitStack() as stack:
        noise = stack.enter_context(open_table(DEFAULT_SEED, DEFAULT_LENGTH))
        contenders = dict(contenders_of(stack, setting, noise, cores))
        for turn in contenders.values():
            turn(0.0)
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, turn in contenders.items():
                rates[name].append(turn(seconds))
    return rates


def contenders_of(
    stack: ExitStack, setting: Setting, noise: NoiseTable, cores: int
) -> Iterator[tuple[str, Turn]]:
    """Each by its name, ready for its first turn."""
    from fleet.actors.ray_pool import RayPool

    experiment = experiment_of(setting, noise.spec)
    pool: Pool = RayPool(experiment, workers=cores)
    stack.callback(pool.shutdown)
    yield "ray", in_pool(search(setting, noise), pool)
    yield "ray, overlap", in_pool(search(setting, noise, overlap=1), pool)

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(RedisServer())
    client = connect(server.url)
    stack.callback(client.close)
    stack.enter_context(local_workers(cores, server.url, log=folder / "log"))
    pool = RedisPool(client, experiment)
    stack.callback(pool.shutdown)
    yield "redis", in_pool(search(setting, noise), pool)

    evaluator = serial_evaluator(experiment, noise)
    stack.callback(evaluator.close)
    yield "serial", in_pool(search(setting, noise), SerialPool(evaluator))
    yield PLAIN, in_lock_step(search(setting, noise), setting, noise)


def search(setting: Setting, noise: NoiseTable, overlap: int = 0) -> RunState:
    """A search with episodes that are uneven, as in a run."""
    return search_from(
        first_theta(setting),
        noise,
        pop_size=setting.pop_size,
        max_steps=setting.max_steps,
        sigma=0.1,
        overlap=overlap,
    )


def serial_evaluator(experiment: Experiment, noise: NoiseTable) -> Evaluator | GuardedEvaluator:
    """As a run with pool=serial has it."""
    if registry.needs_guard(experiment.env):
        return GuardedEvaluator(experiment)
    return Evaluator(experiment, noise)


def in_pool(state: RunState, pool: Pool) -> Turn:
    """A search in a pool of ours, of which each turn goes on where the last one stopped."""

    def turn(seconds: float) -> float:
        num_steps, started_s = 0, time.perf_counter()
        while True:
            if num_steps == 0 or time.perf_counter() - started_s < seconds:
                for opened in state.ask_due():
                    pool.open(opened.generation)
            elif not state.open:  # what is left of an overlap belongs to this turn
                return num_steps / (time.perf_counter() - started_s)
            oldest = state.open[0]
            while not oldest.is_complete:
                num_steps += taken(state, pool)
            pool.close(oldest.generation.number)
            state.tell(oldest, oldest.fitness_ce())

    return turn


def taken(state: RunState, pool: Pool) -> int:
    """Put what has come to its place; its simulator steps."""
    num_steps = 0
    for batch in pool.results(1.0):
        for opened in state.open:
            if opened.digest == batch.digest:
                opened.add(batch)
        num_steps += sum(record.length for record in batch.records)
    return num_steps


def in_lock_step(state: RunState, setting: Setting, noise: NoiseTable) -> Turn:
    """The search as a first program over Ray has it: a task for each, and wait for the last."""
    import ray

    task = ray.remote(num_cpus=1)(rebuilt_and_run)
    spec = msgspec.msgpack.encode((setting.env, setting.policy))

    def turn(seconds: float) -> float:
        num_steps, started_s = 0, time.perf_counter()
        while num_steps == 0 or time.perf_counter() - started_s < seconds:
            (opened,) = state.ask_due()
            generation, calls = opened.generation, []
            for candidate in range(generation.num_candidates):
                theta = np.empty_like(generation.candidates.theta)
                write_candidate(generation.candidates, candidate, noise, theta)
                seed = rollout_seeds(generation, candidate).env
                calls.append(task.remote(spec, theta, seed, setting.max_steps))
            results = ray.get(calls)
            state.tell(opened, np.array([[fitness] for fitness, _ in results]))
            num_steps += sum(steps for _, steps in results)
        return num_steps / (time.perf_counter() - started_s)

    return turn


def rebuilt_and_run(
    spec: bytes, theta: NDArray[np.float32], seed: int, max_steps: int
) -> tuple[float, int]:
    """One evaluation that owes nothing to the one before: its fitness, and its steps."""
    use_one_thread()
    env_spec, policy_spec = msgspec.msgpack.decode(spec, type=tuple[EnvSpec, PolicySpec])
    env = registry.make(env_spec)
    act = rebuilt_policy(policy_spec, env, theta)
    observation, _ = env.reset(seed=seed)
    fitness, steps, is_over = 0.0, 0, False
    while not is_over and steps < max_steps:
        observation, reward, terminated, truncated, _ = env.step(act(observation))
        fitness += float(reward)
        steps += 1
        is_over = terminated or truncated
    env.close()
    return fitness, steps


def rebuilt_policy(spec: PolicySpec, env: Any, theta: NDArray[np.float32]) -> Callable[[Any], Any]:
    """The policy in torch where it is a network, called with one observation at a time."""
    if spec.network == "reflex":
        actor = build_actor(spec, env.observation_space, env.action_space)
        actor.load(theta, None)
        actor.reset(np.random.default_rng(0))
        return actor.act
    import torch

    from policy.torch_network import TorchNetwork, load_theta

    module = TorchNetwork(network_between(spec, env.observation_space, env.action_space))
    load_theta(module, torch.from_numpy(theta))
    _, to_action = action_decoder(env.action_space, within_one=False)

    def act(observation: Any) -> Any:
        with torch.no_grad():
            return to_action(module(torch.as_tensor(observation, dtype=torch.float32)).numpy())

    return act


if __name__ == "__main__":
    main()
