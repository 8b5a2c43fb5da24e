"""From the fitness of episodes to that of candidates, alike for every search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from errors import RunAborted


def candidate_fitness(fitness_ce: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(C,)`` float64, mean over the episodes of each candidate in ``(C, E)`` float64.

    An episode that failed (NaN) counts as the generation's worst finite fitness: it must not pay
    off, and how bad it is depends on the environment.

    Raises:
        RunAborted: no fitness is finite, or a candidate's episodes add up to infinity.
    """
    finite_ce = np.isfinite(fitness_ce)
    if not finite_ce.any():
        raise RunAborted(
            "no rollout of the generation has a finite fitness: nothing to learn from; "
            "run one episode of the environment by hand to see why"
        )
    filled_ce = np.where(finite_ce, fitness_ce, fitness_ce[finite_ce].min())
    # Episode by episode: a reduction may add in another order on another processor.
    total_c = np.zeros(len(filled_ce))
    with np.errstate(over="ignore"):
        for fitness_c in filled_ce.T:
            total_c += fitness_c
    if not np.isfinite(total_c).all():
        raise RunAborted(
            f"fitness is as large as {np.abs(filled_ce).max():.3g}: a candidate's episodes add up "
            "to more than a number can hold; scale the environment's reward down"
        )
    mean_c: NDArray[np.float64] = total_c / filled_ce.shape[1]
    return mean_c
