"""What the whole system costs beside the simulator, and beside EvoTorch, over all cores.

``python benchmarks/rollouts.py`` prints simulator steps per second of the bare, unwrapped
environment in as many plain processes as there are cores, of a run as users have it (our Redis
server, supervised workers, the loop with OpenAI-ES), and their ratio. With ``--evotorch PYTHON``,
a Python that has rivals/requirements-evotorch.txt, it prints the same of EvoTorch: PGPE on GymNE
with an actor for each core, the same policy and population.

All take turns: whenever a generation of the run is complete and its turn is over, the workers rest
and the others have a turn as long, one after the other, so that a busy machine slows all alike. The
bare loop replays the actions that the policy takes; the candidates of both searches stay so near
the same policy that their episodes are of the same kind. Only whole generations count, with
everything between them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
from measured_run.settings import (
    LR,
    SETTINGS,
    SIGMA,
    Setting,
    experiment_of,
    first_theta,
    state_of,
)
from rivals.evotorch_command import evotorch_command, startable
from rivals.evotorch_policies import network_words, to_evotorch
from rivals.turn_servers import Turn, turn_servers

from env import registry
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers, num_cores
from fleet.server.redis_server import RedisServer
from policy.actor import network_between
from search.arithmetic import use_one_thread
from search.journal import Journal
from search.loop import Loop
from search.noise import DEFAULT_LENGTH, DEFAULT_SEED, open_table
from search.protocol import PoolStatus
from search.run_state import RunState

HERE = Path(__file__).parent
WARM_UP_GENERATIONS = 1
BARE, OURS, EVOTORCH = "bare", "ours", "EvoTorch"


@click.command()
@click.option(
    "--env",
    "envs",
    type=click.Choice(list(SETTINGS)),
    multiple=True,
    help="One alone; may come again.",
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=5.0, show_default=True, help="Least length of a turn.")
@click.option(
    "--evotorch",
    callback=startable,
    help="A Python that has EvoTorch; without it, nothing about it.",
)
def main(envs: tuple[str, ...], rounds: int, seconds: float, evotorch: str | None) -> None:
    """Measure the whole system against bare simulators, and against EvoTorch."""
    use_one_thread()
    cores = num_cores()
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}; steps/s, medians of {rounds} rounds")
    print(
        f"{'environment':26}{BARE:>9}{OURS:>9}{EVOTORCH:>10}"
        f"{'of bare':>9}{'target':>8}{'x EvoTorch':>12}{'target':>8}{'load':>6}"
    )
    for name in envs or SETTINGS:
        print(row(name, measure(name, rounds, seconds, cores, evotorch)), flush=True)


def row(name: str, rates: Mapping[str, list[float]]) -> str:
    """A line of the table; what was not measured is left blank."""
    setting = SETTINGS[name]
    medians = {who: f"{statistics.median(found):,.0f}" for who, found in rates.items()}
    line = f"{name:26}{medians[BARE]:>9}{medians[OURS]:>9}{medians.get(EVOTORCH, ''):>10}"
    line += f"{ratio(rates, BARE):9.2f}{setting.target:8.2f}"
    if EVOTORCH in rates:
        line += f"{ratio(rates, EVOTORCH):12.2f}{setting.evotorch_target:8.2f}"
    else:
        line += " " * 20
    return f"{line}{os.getloadavg()[0]:6.1f}"


def ratio(rates: Mapping[str, list[float]], other: str) -> float:
    """Of ours to the other's, the median of the rounds."""
    pairs = zip(rates[OURS], rates[other], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def measure(
    name: str, rounds: int, seconds: float, cores: int, evotorch: str | None = None
) -> dict[str, list[float]]:
    """Steps/s of each contender in each round."""
    setting = SETTINGS[name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = [bare_command(name)] * cores
        rivals = {BARE: stack.enter_context(turn_servers(bare, cwd=HERE))}
        if evotorch is not None and setting.evotorch_target is not None:
            command = command_of_evotorch(evotorch, setting, cores, folder)
            rivals[EVOTORCH] = stack.enter_context(turn_servers([command]))
        server = stack.enter_context(RedisServer())
        client = connect(server.url)
        stack.callback(client.close)
        noise = stack.enter_context(open_table(DEFAULT_SEED, DEFAULT_LENGTH))
        stack.enter_context(local_workers(cores, server.url, log=folder / "log"))
        pool = RedisPool(client, experiment_of(setting, noise.spec))
        stack.callback(pool.shutdown)
        state = state_of(setting, noise)
        turns = Turns(state, rivals, rounds, seconds, cores)
        journal = stack.enter_context(Journal(folder / "journal"))
        with suppress(MeasuredError):
            Loop(state, pool, journal, turns).run()
    return turns.rates


def bare_command(name: str) -> list[str]:
    """Of one plain process, started in this folder."""
    return [sys.executable, "-m", "rivals.bare_rollouts", name]


def command_of_evotorch(python: str, setting: Setting, cores: int, folder: Path) -> list[str]:
    """Of EvoTorch with the same policy, the same first parameters and the same population."""
    env = registry.make(setting.env)
    layers = network_between(setting.policy, env.observation_space, env.action_space).layers
    env.close()
    sizes = layers[0].size_in, layers[-1].size_out
    np.save(folder / "theta.npy", to_evotorch(setting.policy, first_theta(setting), *sizes))
    task = {
        "env": setting.env.name,
        "network": network_words(setting.policy),
        "theta": str(folder / "theta.npy"),
        "num_actors": cores,
        "pop_size": setting.pop_size,
        "max_steps": setting.max_steps,
        "sigma": SIGMA,
        "lr": LR,
    }
    return evotorch_command(python, "evotorch_rollouts.py", task)


class MeasuredError(Exception):
    """There have been enough rounds: this ends the run."""


class Turns:
    """A recorder that measures the run between two of its calls, and its rivals within one."""

    def __init__(
        self,
        state: RunState,
        rivals: Mapping[str, Turn],
        rounds: int,
        seconds: float,
        cores: int,
    ) -> None:
        self._state = state
        self._rivals = rivals
        self._rounds = rounds
        self._seconds = seconds
        self._cores = cores
        self._num_workers = 0
        self._warm = 0
        self._steps = 0
        self._started_s = time.perf_counter()
        self.rates: dict[str, list[float]] = {OURS: [], **{name: [] for name in rivals}}

    @property
    def are_over(self) -> bool:
        return len(self.rates[OURS]) >= self._rounds

    def progress(self, number: int, done: int, total: int, status: PoolStatus) -> None:
        self._num_workers = status.num_workers

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        now_s = time.perf_counter()
        if self._warm < WARM_UP_GENERATIONS or self._num_workers < self._cores:
            self._warm += 1
        elif now_s - self._started_s < self._seconds:
            return
        else:
            seconds = now_s - self._started_s
            self.rates[OURS].append((self._state.totals.env_steps - self._steps) / seconds)
            for name, turn in self._rivals.items():
                self.rates[name].append(turn(seconds))
        self._steps = self._state.totals.env_steps
        self._started_s = time.perf_counter()

    def times(self, times: object) -> None:
        if self.are_over:
            raise MeasuredError

    def checkpoint(self, number: int, arrays: Any, *, is_best: bool, is_last: bool) -> None:
        pass

    def notice(self, line: str) -> None:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
