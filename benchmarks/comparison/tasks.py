"""What is compared, as data: a list of tasks, and a list of searches. Add a line to add one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Options = Mapping[str, Any]
_NONE: Options = MappingProxyType({})


class Task(NamedTuple):
    """A named config that each search has to itself.

    Attributes:
        title: for the picture.
        budget_steps: simulator steps of one run, validation included.
        threshold: fitness of theta that counts as having learnt it.
        options: what is other than in the named config, for every search.
        searches, seeds: which, and how many of these, unless others are asked for.
    """

    title: str
    budget_steps: int
    threshold: float
    options: Options = _NONE
    searches: tuple[str, ...] = ("openai_es", "CMA", "ES", "TwoPointsDE")
    seeds: int = 5


class Search(NamedTuple):
    """A search by its experiment command, whose named configs it has.

    Attributes:
        command: the folder of its ``experiment.py``.
        tool: the command's.
        options: what is other than in that command's named config of a task, by task; under
            `EVERY_TASK`, on all of them.
    """

    command: str
    tool: str
    options: Mapping[str, Options] = MappingProxyType({})


EVERY_TASK = ""

# A budget of steps ends every run, and nothing else does.
FOR_ALL: Options = {
    "pool": "serial",
    "max_wall_s": None,
    "target_fitness": None,
    "num_generations": 1_000_000,
    "num_serializations": 0,
    "render": False,
}

TASKS: Mapping[str, Task] = {
    "lander": Task("LunarLanderContinuous-v3, linear policy", 2_000_000, 200.0),
    "pendulum_partial": Task(
        "Pendulum without its velocity, two observations, 16 hidden units",
        2_500_000,
        -500.0,
        {"final_episodes": 100},
        seeds=3,
    ),
    "walk": Task(
        "OpenSim's 2D walker, 37 reflex parameters",
        60_000,
        150.0,
        {"max_ep_length": 1000},
        searches=("openai_es", "CMA"),
        seeds=3,
    ),
    "cartpole": Task("CartPole-v1, linear policy", 100_000, 475.0, {"final_episodes": 100}),
    "sphere": Task("Sphere, 20 parameters", 2000, -0.1),
}

SEARCHES: Mapping[str, Search] = {
    "openai_es": Search("es", "openai_es"),
    "CMA": Search("nevergrad_es", "CMA"),
    # Nevergrad's (40, 60): it selects whenever 60 have been told.
    "ES": Search(
        "nevergrad_es", "ES", {EVERY_TASK: {"pop_size": 60}, "lander": {"num_episodes": 2}}
    ),
    "TwoPointsDE": Search("nevergrad_es", "TwoPointsDE", {"lander": {"num_episodes": 2}}),
}
