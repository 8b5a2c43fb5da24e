"""With what a search begins anew when CMA has stagnated. pycma has these rules too, but only
inside `cma.fmin2`, which calls the objective itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nevergrad_es.tools import Regime


class Descent(NamedTuple):
    """One run of CMA, from its beginning to where it stagnated.

    Attributes:
        regime: what it began with.
        candidates: how many it was told of.
        is_small: whether it was one of BIPOP's short ones.
        most_candidates: after how many it ends, stagnant or not.
    """

    regime: Regime
    candidates: int = 0
    is_small: bool = False
    most_candidates: float = math.inf


def first_descent(pop_size: int, sigma: float, run_seed: int) -> Descent:
    """The one that every search begins with."""
    return Descent(Regime(pop_size, sigma, _seed(run_seed, 0)))


def next_descent(rule: str, descents: Sequence[Descent], run_seed: int) -> Descent:
    """What comes after ``descents``, all of which have ended. Pure.

    ``ipop`` doubles the population each time (Auger and Hansen 2005, "A restart CMA evolution
    strategy with increasing population size"). ``bipop`` does so too, and spends as many candidates
    again on short descents with a small population and a smaller first step (Hansen 2009,
    "Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed", section 2); each of
    those has at most half as many as the large ones had, which is pycma's limit.

    Args:
        rule: ``ipop`` or ``bipop``.
        descents: the first has the default population and step size.
        run_seed: of the run.
    """
    first = descents[0].regime
    seed = _seed(run_seed, len(descents))
    large = [d for d in descents if not d.is_small]
    if rule == "bipop" and len(large) > 1:
        on_large = sum(d.candidates for d in large[1:])
        on_small = sum(d.candidates for d in descents if d.is_small)
        if on_small < on_large:
            uniform = np.random.RandomState(seed).uniform(size=2)
            ratio = large[-1].regime.pop_size / 2 / first.pop_size
            pop_size = max(2, math.floor(first.pop_size * ratio ** (uniform[0] ** 2)))
            sigma = first.sigma * 10 ** float(-2 * uniform[1])
            return Descent(
                Regime(pop_size, sigma, seed), is_small=True, most_candidates=on_large / 2
            )
    return Descent(Regime(2 * large[-1].regime.pop_size, first.sigma, seed))


def _seed(run_seed: int, number: int) -> int:
    """32 bits; Nevergrad's generators take no more."""
    return int(np.random.SeedSequence([run_seed, number]).generate_state(1)[0])
