"""EvoTorch's rollouts: a turn server (`turn_servers`) that runs in EvoTorch's own Python.

``PYTHON benchmarks/rivals/evotorch_rollouts.py '{"env": ..., "theta": "FILE.npy", ...}'``. Its
search hardly leaves the policy that it begins with, as that of rollouts.py does.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from evotorch_problem import gym_problem
from turn_servers import Turn, answers, serve


def main(task: dict[str, Any]) -> None:
    """Serve turns of whole generations."""
    out = answers()
    with gym_problem(
        task["env"],
        task["network"],
        num_actors=task["num_actors"],
        episode_length=task["max_steps"],
    ) as problem:
        searcher = pgpe(problem, task)
        searcher.step()  # which starts the actors
        serve(turn_of(searcher, problem), out)


def pgpe(problem: Any, task: dict[str, Any]) -> Any:
    """EvoTorch's PGPE, stepping by next to nothing."""
    import torch
    from evotorch.algorithms import PGPE

    return PGPE(
        problem,
        popsize=task["pop_size"],
        center_init=torch.from_numpy(np.load(task["theta"])),
        center_learning_rate=task["lr"],
        stdev_init=task["sigma"],
        stdev_learning_rate=0.0,
        optimizer="adam",
    )


def turn_of(searcher: Any, problem: Any) -> Turn:
    """Steps of its environments, as it counts them itself."""

    def turn(seconds: float) -> float:
        before, started_s = problem.interaction_count, time.perf_counter()
        while True:
            searcher.step()
            passed_s = time.perf_counter() - started_s
            if passed_s >= seconds:
                return float((problem.interaction_count - before) / passed_s)

    return turn


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
