"""How soon a worker is of use: ``python benchmarks/start.py``.

From ``python es/worker.py start-workers --num_workers=1``, as a user types it and a run starts it,
to the first record at the head, beside a Python that only imports what such a worker must: numpy
and the simulator. Both take turns. The head, its Redis and the noise table are there before, as
when a machine joins. Episodes are cut short, so that it is the start that is measured.

The parts of it, as the head sees them: *supervisor* until its child's process exists; *loading*
until the child has joined the run; *environment* until the noise table is mapped, the environment
built and the task taken; *episode*, as the worker says it lasted. Medians of each, so that their
sum need not be the whole.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import click
import psutil
from measured_run.settings import SETTINGS, Setting, experiment_of, state_of

from fleet import keys
from fleet.connection import Client, connect
from fleet.flush import flush_everything
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers, num_cores
from fleet.server.redis_server import RedisServer
from search.messages import RecordBatch
from search.noise import DEFAULT_LENGTH, DEFAULT_SEED, NoiseTable, open_table

TARGET = 1.5
IMPORTS = {
    "LunarLanderContinuous-v3": "numpy, gymnasium, gymnasium.envs.box2d.lunar_lander",
    "OpenSimWalk2D-v0": "numpy, gymnasium, opensim",
}
_LOOK_EVERY_S = 0.002
_GIVE_UP_S = 120.0


class Start(NamedTuple):
    """Seconds from the command to the first record, and those of its parts."""

    whole: float
    supervisor: float
    loading: float
    environment: float
    episode: float


@click.command()
@click.option(
    "--env",
    "envs",
    type=click.Choice(list(IMPORTS)),
    multiple=True,
    help="One alone; may come again.",
)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--max_steps", default=20, show_default=True, help="Cap of an episode.")
def main(envs: tuple[str, ...], rounds: int, max_steps: int) -> None:
    """Measure a worker's start against the imports that it cannot do without."""
    print(f"{num_cores()} cores, load {os.getloadavg()[0]:.1f}; s, medians of {rounds} rounds")
    columns = "".join(f"{name:>12}" for name in Start._fields[1:])
    print(
        f"{'environment':26}{'imports':>9}{'start':>8}{'ratio':>7}{'target':>8}{columns}{'load':>6}"
    )
    for name in envs or IMPORTS:
        bare, ours = measure(name, rounds, max_steps)
        ratio = statistics.median(our.whole / its for our, its in zip(ours, bare, strict=True))
        medians = [statistics.median(values) for values in zip(*ours, strict=True)]
        line = f"{name:26}{statistics.median(bare):9.2f}{medians[0]:8.2f}{ratio:7.2f}{TARGET:8.2f}"
        parts = "".join(f"{seconds:12.3f}" for seconds in medians[1:])
        print(f"{line}{parts}{os.getloadavg()[0]:6.1f}", flush=True)


def measure(name: str, rounds: int, max_steps: int) -> tuple[list[float], list[Start]]:
    """Seconds of the imports alone, and the starts, in each round; one before does not count."""
    setting = SETTINGS[name]._replace(max_steps=max_steps, num_validation=0)
    bare, ours = [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(RedisServer())
        client = stack.enter_context(connect(server.url))
        noise = stack.enter_context(open_table(DEFAULT_SEED, DEFAULT_LENGTH))
        for _ in range(rounds + 1):
            bare.append(import_s(IMPORTS[name]))
            ours.append(first_record(setting, client, server.url, noise, folder / "log"))
    return bare[1:], ours[1:]


def import_s(modules: str) -> float:
    """Seconds that a Python takes which only imports ``modules``."""
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    return time.perf_counter() - started_s


def first_record(setting: Setting, client: Client, url: str, noise: NoiseTable, log: Path) -> Start:
    """Start a worker for a run that waits for one, and end it when it has answered."""
    flush_everything(client)
    experiment = experiment_of(setting, noise.spec)
    pool = RedisPool(client, experiment)
    try:
        opened = next(state_of(setting, noise).ask_due())
        pool.open(opened.generation)
        pool.results(0.0)
        started_s = time.perf_counter()
        with local_workers(1, url, log=log) as process:
            watched = psutil.Process(process.pid)
            born_s = _when(lambda: bool(watched.children()), log)
            joined_s = _when(lambda: client.zcard(keys.crew(experiment.run_uid)) > 0, log)
            batches: Sequence[RecordBatch] = []
            while not batches:
                batches = pool.results(0.05)
                _check(time.perf_counter() - started_s, log)
            done_s = time.perf_counter()
    finally:
        pool.shutdown()
    episode_s = batches[0].evaluation_s
    return Start(
        done_s - started_s,
        born_s - started_s,
        joined_s - born_s,
        done_s - joined_s - episode_s,
        episode_s,
    )


def _when(is_so: Callable[[], bool], log: Path) -> float:
    """The moment at which it was first so."""
    began_s = time.perf_counter()
    while not is_so():
        _check(time.perf_counter() - began_s, log)
        time.sleep(_LOOK_EVERY_S)
    return time.perf_counter()


def _check(waited_s: float, log: Path) -> None:
    if waited_s > _GIVE_UP_S:
        raise SystemExit(f"no record after {_GIVE_UP_S:g} s; the worker says: {log.read_text()}")


if __name__ == "__main__":
    main()
