"""What a delay costs in learning: the same configs, seeds and simulator steps at overlap 0, 1, 2.

``python benchmarks/overlap.py FOLDER`` makes the runs that FOLDER does not hold yet, one after the
other in `pool=serial`, since time plays no part here, and prints the table of docs/performance.md;
about an hour on one core. With overlap k, generation g is drawn from what the search knew k + 1
generations before it, a rule that every pool obeys to the bit.

Fitness is that of theta itself: over 50 episodes at the end, and the mean over the whole run of
what validation said, weighted by steps, which tells how fast it got there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STEPS = {"lander": 1_500_000, "half_cheetah": 1_800_000}
OVERLAPS = (0, 1, 2)


class Learnt(NamedTuple):
    """What one run came to."""

    final: float
    mean: float


def train(folder: Path, config: str, seed: int, overlap: int) -> Path:
    """The folder of that run, which is made where it is not there."""
    runs = folder / f"{config}-{seed}-{overlap}"
    for run in runs.glob("*/run.json"):
        if json.loads(run.read_text())["result"] is not None:
            return run.parent
    command = [sys.executable, str(ROOT / "es" / "experiment.py"), "with", config]
    command += [f"seed={seed}", f"overlap={overlap}", f"max_env_steps={STEPS[config]}"]
    command += ["pool=serial", "max_wall_s=None", "num_generations=100000", "final_episodes=50"]
    command += ["render=False", "num_serializations=0", f"runs_dir={runs}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(runs.glob("*/run.json")).parent


def learnt(run: Path) -> Learnt:
    """What validation and the closing test said of a run."""
    final = json.loads((run / "run.json").read_text())["result"]["fitness_current"]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    metrics: list[dict[str, Any]] = [json.loads(line)["metrics"] for line in lines]
    steps = np.array([m["work/env_steps_total"] for m in metrics])
    fitness = np.array([m["fitness/current"] for m in metrics])
    return Learnt(final, float(np.trapezoid(fitness, steps) / (steps[-1] - steps[0])))


def table(found: dict[tuple[str, int, int], Learnt], seeds: int) -> Iterator[str]:
    """Markdown, a line for each config and overlap."""
    yield "| config | overlap | final fitness by seed | median | mean over the run, median |"
    yield "| --- | --- | --- | --- | --- |"
    for config in STEPS:
        for overlap in OVERLAPS:
            runs = [found[config, seed, overlap] for seed in range(1, seeds + 1)]
            finals = ", ".join(f"{run.final:.0f}" for run in runs)
            median = np.median([run.final for run in runs])
            mean = np.median([run.mean for run in runs])
            yield f"| `{config}` | {overlap} | {finals} | {median:.0f} | {mean:.0f} |"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1))
def main(folder: Path, seeds: int) -> None:
    """Make the runs that FOLDER does not hold yet, and print the table."""
    found = {}
    for seed in range(1, seeds + 1):
        for config in STEPS:
            for overlap in OVERLAPS:
                found[config, seed, overlap] = learnt(train(folder, config, seed, overlap))
                click.echo(f"{config} seed {seed} overlap {overlap}: done", err=True)
    click.echo("\n".join(table(found, seeds)))


if __name__ == "__main__":
    main()
