"""Simulator steps per second of a whole run by the number of its workers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from what_grows.figures import Steps

_COMMAND = Path(__file__).resolve().parents[2] / "es" / "experiment.py"
_WARM_UP_GENERATIONS = 1
_STEPS = "work/env_steps_total"


def steps_by_workers(counts: Sequence[int], rounds: int, generations: int) -> list[Steps]:
    """Steps per second of so many workers each, in rounds in which all have a turn.

    The run is the same to the bit whoever evaluates it, so all of them do the very same work;
    starting, and the first generation, are left out.

    Raises:
        SystemExit: a run failed, or came to another theta.
    """
    found: dict[int, list[float]] = {count: [] for count in counts}
    seen: set[str] = set()
    for _ in range(rounds):
        for count in counts:
            steps_per_s, sha256 = run_of(count, _WARM_UP_GENERATIONS + generations)
            found[count].append(steps_per_s)
            seen.add(sha256)
            click.echo(f"{count} workers: {steps_per_s:,.0f} steps/s", err=True)
    if len(seen) != 1:
        raise SystemExit(f"the same run ended with {len(seen)} different thetas")
    return [Steps(count, some) for count, some in found.items()]


def run_of(num_workers: int, generations: int) -> tuple[float, str]:
    """Steps per second of `lander` after its first generation, and the hash of what it learnt."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            f"workers={num_workers}",
            f"num_generations={generations}",
            "seed=1",
            "max_wall_s=None",
            f"runs_dir={folder}",
            "final_episodes=1",
            "render=False",
            "mongo_url=off",
            "notify=off",
        ]
        command: list[str | Path] = [sys.executable, _COMMAND, "with", "lander", *options]
        ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if ended.returncode:
            raise SystemExit(f"a run of {num_workers} workers failed: {ended.stderr[-500:]}")
        (path,) = Path(folder).glob("*/metrics.jsonl")
        told = [json.loads(line)["metrics"] for line in path.read_text().splitlines()]
        sha256 = (ended.stdout + ended.stderr).partition("theta_sha256=")[2][:64]
    first, last = told[_WARM_UP_GENERATIONS - 1], told[-1]
    steps = last[_STEPS] - first[_STEPS]
    return steps / (last["time/elapsed_s"] - first["time/elapsed_s"]), sha256
