"""OpenSimWalk2D over all cores: the whole system beside osim-rl's own environment in a pool.

``python benchmarks/opensim_pool.py`` prints simulator steps per second of wall time, of a run as
users have it (Redis server, supervised workers, one generation after the other) at exact accuracy,
and of osim-rl's own environment and reflex controller with only what they need to run today, in
`multiprocessing.Pool` (`rivals.original_osim_pool`), at the same accuracy. Both evaluate the very
same candidates, a generation each in turns, so that a busy machine slows both alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import numpy as np
from measured_run.settings import SETTINGS, experiment_of, search_from

from env.gait_file import read_gait
from env.musculoskeletal.kernels import VARIABLE, opensim_kernels
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers, num_cores
from fleet.server.redis_server import RedisServer
from search.arithmetic import use_one_thread
from search.candidates import write_candidate
from search.messages import Generation
from search.noise import DEFAULT_LENGTH, DEFAULT_SEED, NoiseTable, open_table
from search.open_generation import OpenGeneration

HERE = Path(__file__).resolve().parent
GAIT = HERE.parent / "examples" / "gaits" / "walk2d.json"
ENV_NAME = "OpenSimWalk2D-v0"
TARGET = 1.15
GIVE_UP_S = 120.0


class Turn(NamedTuple):
    """What one generation took."""

    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        """Simulator steps per second."""
        return self.steps / self.seconds


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--population", default=8, show_default=True, type=click.IntRange(2))
@click.option("--steps", default=100, show_default=True, type=click.IntRange(1))
def main(rounds: int, population: int, steps: int) -> None:
    """Measure a generation of walks in turns: ours, and a pool around osim-rl's environment."""
    use_one_thread()
    cores = num_cores()
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}; medians of {rounds} rounds")
    ours, theirs = measure(cores, rounds, population, steps)
    ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
    print(f"{'environment':18}{'osim-rl pool/s':>16}{'ours/s':>9}{'ratio':>8}{'target':>8}")
    rates = [statistics.median(turn.rate for turn in turns) for turns in (theirs, ours)]
    print(f"{ENV_NAME:18}{rates[0]:16.1f}{rates[1]:9.1f}{ratio:8.2f}{TARGET:8.2f}")
    print(f"load {os.getloadavg()[0]:.1f}")


def measure(cores: int, rounds: int, population: int, steps: int) -> tuple[list[Turn], list[Turn]]:
    """Ours and theirs, round by round; a first one warms up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        noise = stack.enter_context(open_table(DEFAULT_SEED, DEFAULT_LENGTH))
        server = stack.enter_context(RedisServer())
        client = connect(server.url)
        stack.callback(client.close)
        stack.enter_context(local_workers(cores, server.url, log=folder / "log"))
        original = stack.enter_context(original_pool(cores))
        setting = SETTINGS[ENV_NAME]
        exact = msgspec.structs.replace(setting.env, options={"preset": "exact"})
        pool = RedisPool(client, experiment_of(setting._replace(env=exact), noise.spec))
        stack.callback(pool.shutdown)
        theta = read_gait(GAIT).theta_d
        state = search_from(theta, noise, pop_size=population, max_steps=steps)
        ours, theirs = [], []
        for _ in range(rounds + 1):
            (opened,) = state.ask_due()
            ours.append(evaluated(pool, opened))
            theirs.append(evaluated_by(original, thetas_of(opened.generation, noise), steps))
            if ours[-1].steps != theirs[-1].steps:
                raise click.ClickException(f"not the same walks: {ours[-1]}, {theirs[-1]}")
            state.tell(opened, opened.fitness_ce())
        return ours[1:], theirs[1:]


def evaluated(pool: RedisPool, opened: OpenGeneration) -> Turn:
    """Have our workers evaluate a generation."""
    steps, began_s = 0, time.perf_counter()
    pool.open(opened.generation)
    while not opened.is_complete:
        for batch in pool.results(1.0):
            if batch.digest == opened.digest:
                opened.add(batch)
                steps += sum(record.length for record in batch.records)
        # Workers refuse a run of other code than theirs, and would be waited for in vain.
        if not steps and time.perf_counter() - began_s > GIVE_UP_S:
            raise click.ClickException(
                f"no worker has answered in {GIVE_UP_S:g} s: leave the source as it is meanwhile"
            )
    pool.close(opened.generation.number)
    return Turn(steps, time.perf_counter() - began_s)


def thetas_of(generation: Generation, noise: NoiseTable) -> list[list[float]]:
    """Each candidate as the controller's own parameters: ours are offsets from all ones."""
    theta = np.empty_like(generation.candidates.theta)
    thetas = []
    for candidate in range(generation.num_candidates):
        write_candidate(generation.candidates, candidate, noise, theta)
        thetas.append((1.0 + theta.astype(np.float64)).tolist())
    return thetas


@contextmanager
def original_pool(cores: int) -> Iterator[subprocess.Popen[str]]:
    """The program that who uses osim-rl has, waiting for candidates."""
    command = [sys.executable, str(HERE / "rivals" / "original_osim_pool.py"), str(cores)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, VARIABLE: opensim_kernels()},  # by others they would be other walks
    )
    try:
        yield process
    finally:
        process.communicate()


def evaluated_by(process: subprocess.Popen[str], thetas: list[list[float]], steps: int) -> Turn:
    """Have osim-rl's pool evaluate the same."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([thetas, steps]) + "\n")
    process.stdin.flush()
    num_steps, seconds = process.stdout.readline().split()
    return Turn(int(num_steps), float(seconds))


if __name__ == "__main__":
    main()
