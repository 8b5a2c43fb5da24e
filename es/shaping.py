"""From fitness to the weights of an update.

Adding a shaping: a pure function ``(C,)`` float64 -> ``(C,)`` float64, and its line in `SHAPINGS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from errors import ConfigError, did_you_mean

Shaping = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def centered_ranks(fitness_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks scaled to [-0.5, 0.5], whose sum is zero (Salimans et al. 2017, section 2.1, after
    Wierstra et al. 2014).

    Equal fitness shares its average rank: ranks by sorting alone would push theta where nothing
    was learnt. All equal gives exactly zero.
    """
    _, inverse_c, counts = np.unique(fitness_c, return_inverse=True, return_counts=True)
    # Twice the average rank of a group is the sum of its first and last rank: an integer.
    last_rank = np.cumsum(counts) - 1
    doubled_rank = 2 * last_rank - (counts - 1)
    most = len(fitness_c) - 1
    weight: NDArray[np.float64] = (doubled_rank - most) / max(2 * most, 1)
    return weight[inverse_c]


def z_score(fitness_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """(fitness - mean) / standard deviation (of the population); zero where all are equal.

    Sums are exact, so that the order of candidates cannot matter.
    """
    if fitness_c.min() == fitness_c.max():
        return np.zeros_like(fitness_c)
    # By a power of two, which rounds nothing, so that squares cannot overflow.
    _, exponent = np.frexp(np.abs(fitness_c).max())
    scaled_c = np.ldexp(fitness_c, -exponent)
    deviation_c = scaled_c - math.fsum(scaled_c) / len(scaled_c)
    deviation_c = np.ldexp(deviation_c, -np.frexp(np.abs(deviation_c).max())[1])
    variance = math.fsum(deviation_c**2) / len(deviation_c)
    score_c: NDArray[np.float64] = deviation_c / math.sqrt(variance)
    return score_c


def raw(fitness_c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fitness as it is."""
    return fitness_c.copy()


SHAPINGS: dict[str, Shaping] = {
    "centered_ranks": centered_ranks,
    "z_score": z_score,
    "raw": raw,
}


def shaping_by_name(name: str) -> Shaping:
    """The shaping called ``name``.

    Raises:
        ConfigError: there is none.
    """
    try:
        return SHAPINGS[name]
    except KeyError:
        raise ConfigError(
            f"shaping={name}: expected one of {', '.join(SHAPINGS)}{did_you_mean(name, SHAPINGS)}"
        ) from None
