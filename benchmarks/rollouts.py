"""What the whole system costs beside the simulator, over all cores.

``python benchmarks/rollouts.py`` prints simulator steps per second of the bare, unwrapped
environment in as many plain processes as there are cores, of a run as users have it (our Redis
server, supervised workers, the loop with OpenAI-ES), and their ratio.

Both take turns: whenever a generation of the run is complete and its turn is over, the workers
rest and the bare processes have a turn as long, so that a busy machine slows both alike. The bare
loop replays the actions that the policy takes, because what a step costs depends on the state; the
run's candidates stay so near the same policy that its episodes are of the same kind. Only whole
generations count, with everything between them.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import gymnasium as gym
import numpy as np

from env import registry
from env.spec import EnvSpec
from es.openai_es import OpenAIES
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers, num_cores
from fleet.server.redis_server import RedisServer
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.journal import Journal
from search.loop import Loop
from search.messages import MESSAGE_VERSION, Experiment, GuardSpec, NoiseSpec, SeedRule
from search.noise import DEFAULT_LENGTH, NoiseTable, open_table
from search.protocol import PoolStatus
from search.run_state import RunState
from search.settings import LoopSettings

RUN_UID = "b" * 32
NOISE_SEED = 20170310  # that of every run, so that a table that is there is used
WARM_UP_GENERATIONS = 1


class Setting(NamedTuple):
    """An environment, its policy, how large a generation is, and the ratio to reach."""

    env: EnvSpec
    policy: PolicySpec
    max_steps: int
    pop_size: int
    num_validation: int
    bare_episodes: int
    target: float


SETTINGS = {
    "LunarLanderContinuous-v3": Setting(
        EnvSpec("LunarLanderContinuous-v3"), PolicySpec(), 1000, 100, 10, 40, 0.70
    ),
    "HalfCheetah-v5": Setting(EnvSpec("HalfCheetah-v5"), PolicySpec(), 1000, 40, 4, 4, 0.75),
    "OpenSimWalk2D-v0": Setting(
        EnvSpec("OpenSimWalk2D-v0", options={"integrator": "SemiExplicitEuler2", "accuracy": 1e-3}),
        PolicySpec("reflex", ()),
        50,  # a slow simulator: short episodes, or the two would take turns by minutes
        20,
        0,
        1,
        0.95,
    ),
}


@click.command()
@click.option("--envs", default=",".join(SETTINGS), show_default=True, help="Names, by commas.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=5.0, show_default=True, help="Least length of a turn.")
@click.option("--bare", hidden=True, help="Be one of the bare processes of this environment.")
def main(envs: str, rounds: int, seconds: float, bare: str | None) -> None:
    """Measure the whole system against bare simulators."""
    use_one_thread()
    if bare is not None:
        serve_bare(SETTINGS[bare])
        return
    cores = num_cores()
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}; medians of {rounds} rounds")
    print(f"{'environment':26}{'bare/s':>10}{'ours/s':>10}{'ratio':>8}{'target':>8}{'load':>7}")
    for name in envs.split(","):
        bare_s, ours_s, ratio = measure(name, rounds, seconds, cores)
        target, load = SETTINGS[name].target, os.getloadavg()[0]
        print(f"{name:26}{bare_s:10,.0f}{ours_s:10,.0f}{ratio:8.2f}{target:8.2f}{load:7.1f}")


def measure(name: str, rounds: int, seconds: float, cores: int) -> tuple[float, float, float]:
    """Median steps/s of the bare processes and of a run, and the median of the rounds' ratios."""
    setting = SETTINGS[name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer())
        client = connect(server.url)
        stack.callback(client.close)
        noise = stack.enter_context(open_table(NOISE_SEED, DEFAULT_LENGTH))
        stack.enter_context(local_workers(cores, server.url, None, log=folder / "log"))
        processes = stack.enter_context(bare_processes(name, cores))
        pool = RedisPool(client, experiment_of(setting, noise.spec))
        stack.callback(pool.shutdown)
        state = state_of(setting, noise)
        turns = Turns(state, processes, rounds, seconds, cores)
        journal = stack.enter_context(Journal(folder / "journal"))
        Loop(state, pool, journal, turns, stop_requested=lambda: turns.are_over).run()
    ratios = [ours / bare for bare, ours in zip(turns.bare, turns.ours, strict=True)]
    return statistics.median(turns.bare), statistics.median(turns.ours), statistics.median(ratios)


class Turns:
    """A recorder that measures the run between two of its calls, and the bare ones within one."""

    def __init__(
        self,
        state: RunState,
        processes: Sequence[subprocess.Popen[str]],
        rounds: int,
        seconds: float,
        cores: int,
    ) -> None:
        self._state = state
        self._processes = processes
        self._rounds = rounds
        self._seconds = seconds
        self._cores = cores
        self._num_workers = 0
        self._warm = 0
        self._steps = 0
        self._started_s = time.perf_counter()
        self.bare: list[float] = []
        self.ours: list[float] = []

    @property
    def are_over(self) -> bool:
        return len(self.ours) >= self._rounds

    def progress(self, number: int, done: int, total: int, status: PoolStatus) -> None:
        self._num_workers = status.num_workers

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        now_s = time.perf_counter()
        if self._warm < WARM_UP_GENERATIONS or self._num_workers < self._cores:
            self._warm += 1
        elif now_s - self._started_s < self._seconds:
            return
        else:
            steps = self._state.totals.env_steps - self._steps
            self.ours.append(steps / (now_s - self._started_s))
            self.bare.append(self._let_bare_run(now_s - self._started_s))
        self._steps = self._state.totals.env_steps
        self._started_s = time.perf_counter()

    def times(self, times: object) -> None:
        """Nothing to keep."""

    def checkpoint(self, number: int, arrays: Any, *, is_best: bool, is_last: bool) -> None:
        pass

    def notice(self, line: str) -> None:
        print(line, file=sys.stderr)

    def _let_bare_run(self, seconds: float) -> float:
        """Steps/s of all bare processes together."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        return sum(
            float(process.stdout.readline()) for process in self._processes if process.stdout
        )


def experiment_of(setting: Setting, noise: NoiseSpec) -> Experiment:
    """The run, as its workers are told."""
    return Experiment(
        version=MESSAGE_VERSION,
        run_uid=RUN_UID,
        run_id="benchmark",
        code_version=code_version(),
        arithmetic=fingerprint(),
        env=setting.env,
        policy=setting.policy,
        noise=noise,
        guard=GuardSpec(),
    )


def state_of(setting: Setting, noise: NoiseTable) -> RunState:
    """A search whose candidates hardly leave the policy it begins with, and never ends."""
    env = registry.make(setting.env)
    theta = initial_theta(setting.policy, env.observation_space, env.action_space, seed=1)
    env.close()
    strategy = OpenAIES(
        theta, noise, run_seed=1, pop_size=setting.pop_size, sigma=1e-3, lr=1e-6, optimizer="adam"
    )
    settings = LoopSettings(
        run_uid=RUN_UID,
        seeds=SeedRule(1),
        num_generations=10**6,
        num_validation=setting.num_validation,
        num_final=0,
        max_ep_length=setting.max_steps,
        num_checkpoints=0,
    )
    return RunState(strategy, settings, None)


@contextmanager
def bare_processes(name: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Plain processes that have recorded their actions and wait for a turn."""
    command = [sys.executable, __file__, "--bare", name]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def serve_bare(setting: Setting) -> None:
    """For each line of standard input, its number of seconds: reset and step, and say how fast."""
    env = registry.make(setting.env)
    actions_of_episodes = [record(env, setting, seed) for seed in range(setting.bare_episodes)]
    print("ready", flush=True)
    for line in sys.stdin:
        print(replay(env.unwrapped, actions_of_episodes, float(line)), flush=True)


def record(env: gym.Env[Any, Any], setting: Setting, seed: int) -> list[Any]:
    """The actions of one episode."""
    actor = build_actor(setting.policy, env.observation_space, env.action_space)
    actor.load(initial_theta(setting.policy, env.observation_space, env.action_space, seed=1), None)
    actor.reset(np.random.default_rng(0))
    observation, _ = env.reset(seed=seed)
    actions = []
    for _ in range(setting.max_steps):
        actions.append(np.array(actor.act(observation)))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        if terminated or truncated:
            break
    return actions


def replay(env: gym.Env[Any, Any], actions_of_episodes: list[list[Any]], seconds: float) -> float:
    """Steps per second of nothing but reset and step, in whole episodes."""
    num_steps = 0
    start_s = time.perf_counter()
    for seed, actions in itertools.cycle(enumerate(actions_of_episodes)):
        env.reset(seed=seed)
        for action in actions:
            env.step(action)
        num_steps += len(actions)
        if time.perf_counter() - start_s >= seconds:
            break
    return num_steps / (time.perf_counter() - start_s)


if __name__ == "__main__":
    main()
