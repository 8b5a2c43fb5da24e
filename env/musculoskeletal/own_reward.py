"""A user's own reward function: what it is given, and what it may answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel
from policy.included import one_line


@dataclass(frozen=True)
class Moment:
    """What has just happened in an OpenSim environment.

    Attributes:
        observation: after the step, as the environment gives it.
        action: the excitations that were held, clipped to [0, 1], in the order of the action.
        terms: the environment's own reward of this step, term by term.
        distance_m: how far forward the model is.
        time_s: simulated time.
        terminated: whether the environment ends the episode with this step.
        model: the model; ``model.model`` and ``model.state`` are OpenSim's own.
    """

    observation: NDArray[np.float64]
    action: NDArray[np.float64]
    terms: Mapping[str, float]
    distance_m: float
    time_s: float
    terminated: bool
    model: MuscleModel


OwnReward = Callable[[Moment], Any]
"""Answers with the step's reward, a number, or with its terms by name, which are added up and are
metrics each.

It is also called when an episode begins, with ``time_s`` 0, ``action`` 0 and all ``terms`` 0: that
answer is checked and not counted. A function that remembers anything forgets it then, or an episode
depends on those before.
"""


def own_terms(function: OwnReward, moment: Moment) -> dict[str, float]:
    """The terms that ``function`` gives ``moment``.

    Raises:
        ValueError: it raises, or answers something else than finite numbers.
    """
    name = getattr(function, "__name__", "reward")
    try:
        answer = function(moment)
    except Exception as error:  # whatever a user's function does
        raise ValueError(f"reward function {name} raised {one_line(error)}") from error
    terms = answer if isinstance(answer, Mapping) else {"own": answer}
    if not terms or not all(isinstance(term, str) and _is_finite(terms[term]) for term in terms):
        raise ValueError(
            f"reward function {name} answered {str(answer)[:100]!r}: expected a finite number, or "
            "finite numbers by name"
        )
    return {term: float(value) for term, value in terms.items()}


def _is_finite(value: object) -> bool:
    # Truths, text and arrays of one element would pass through float() too.
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return math.isfinite(value)
