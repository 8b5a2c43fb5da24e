"""EvoTorch's PGPE on the lander, in EvoTorch's own Python; ends when it is told to.

``PYTHON benchmarks/rivals/evotorch_lander.py '{"env": ..., "folder": ..., ...}'``: every
generation's centre, with the moments that observations are normalised with, is kept in the folder
as ``000001.npz`` and so on.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from evotorch_problem import gym_problem


def main(task: dict[str, Any]) -> None:
    """Learn, generation by generation."""
    with gym_problem(
        task["env"],
        task["network"],
        num_actors=task["num_actors"],
        normalize=task["normalize"],
    ) as problem:
        # Ray has its own answer to it, which may take its time.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        searcher = pgpe(problem, task)
        for number in itertools.count(1):
            searcher.step()
            keep(Path(task["folder"]), number, searcher, problem)


def pgpe(problem: Any, task: dict[str, Any]) -> Any:
    """As its examples have it, down to the learning rate of the standard deviations."""
    import torch
    from evotorch.algorithms import PGPE

    # Its own `manual_seed` makes actors of 0.6.1 fail, which ask the problem for a `seed`.
    torch.manual_seed(task["seed"])
    return PGPE(
        problem,
        popsize=task["pop_size"],
        center_learning_rate=task["lr"],
        stdev_learning_rate=0.1,
        stdev_init=task["sigma"],
        optimizer=task["optimizer"],
        optimizer_config=task["optimizer_config"],
    )


def keep(folder: Path, number: int, searcher: Any, problem: Any) -> None:
    """Write what the search believes in now, whole or not at all."""
    arrays = {"theta": searcher.status["center"].numpy(), "steps": problem.interaction_count}
    if problem.observation_normalization:
        statistics = problem.get_observation_stats()
        arrays |= {"mean": statistics.mean, "deviation": statistics.stdev}
    beside = folder / "beside.tmp"
    with beside.open("wb") as file:
        np.savez(file, **arrays)
    beside.replace(folder / f"{number:06d}.npz")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
