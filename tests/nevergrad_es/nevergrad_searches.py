"""Searches of Nevergrad's, made as a run makes them, and functions for them to climb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nevergrad_es.nevergrad_strategy import NevergradStrategy
from nevergrad_es.tools import find_tool

Objective = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Fitness ``(C,)`` of candidates ``(C, D)``."""


def start(num_parameters: int) -> NDArray[np.float32]:
    """Where searches begin, ``(D,)``: no two parameters alike."""
    return np.linspace(-1.0, 1.5, num_parameters).astype(np.float32)


def search(
    tool: str = "CMA",
    num_parameters: int = 6,
    *,
    theta0: NDArray[np.float32] | None = None,
    options: dict[str, Any] | None = None,
    bounds: tuple[float, float] | None = None,
    notice: Callable[[str], None] = lambda line: None,
    **changed: Any,
) -> NevergradStrategy:
    """A search of 8 candidates with steps of 0.3, but for what is ``changed``."""
    theta = start(num_parameters) if theta0 is None else theta0
    settings = {"run_seed": 3, "pop_size": 8, "sigma": 0.3, "budget": 400} | changed
    return NevergradStrategy(
        theta,
        lambda budget: find_tool(
            tool, options or {}, theta, bounds=bounds, budget=budget, notice=notice
        ),
        **settings,
    )


def sphere(matrix_cd: NDArray[np.float64]) -> NDArray[np.float64]:
    """-|x|^2."""
    return -np.square(matrix_cd).sum(axis=1)


def candidates(strategy: NevergradStrategy, generation: int) -> NDArray[np.float64]:
    """``(C, D)`` float64."""
    return strategy.ask(generation).matrix_cd.astype(np.float64)


def advance(
    strategy: NevergradStrategy, first: int, stop: int, objective: Objective = sphere
) -> None:
    """Generations ``first`` to ``stop - 1``, one after the other."""
    for generation in range(first, stop):
        strategy.tell(generation, objective(candidates(strategy, generation))[:, None])


def pycma(strategy: NevergradStrategy) -> Any:
    """The CMA-ES behind Nevergrad's, which no part of ours shows."""
    return strategy._optimizer.es
