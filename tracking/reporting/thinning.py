"""A long curve by as many points as a screen can show."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Points of a curve, ``(P,)`` each; where ``every`` is above 1, each stands for so many.

    Attributes:
        x: places, in order.
        mean, low, high: of the values at a point: their mean, least and greatest.
        every: how many values a point stands for at most.
    """

    x: Array
    mean: Array
    low: Array
    high: Array
    every: int


def thinned(x: Array, y: Array, max_points: int) -> Curve:
    """The curve through ``x`` and ``y``, ``(T,)`` each, by at most ``max_points`` points.

    NaN stays a gap where all that a point stands for is NaN. A place that is not finite is left
    out.
    """
    is_placed = np.isfinite(x)
    x, y = x[is_placed], np.where(np.isfinite(y), y, np.nan)[is_placed]
    if len(x) <= max_points:
        return Curve(x, y, y, y, 1)
    every = -(-len(x) // max_points)
    padding = np.full(-len(x) % every, np.nan)
    x_pe = np.concatenate([x, padding]).reshape(-1, every)
    y_pe = np.concatenate([y, padding]).reshape(-1, every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a point of NaN alone is one, on purpose
        return Curve(
            np.nanmean(x_pe, axis=1),
            np.nanmean(y_pe, axis=1),
            np.nanmin(y_pe, axis=1),
            np.nanmax(y_pe, axis=1),
            every,
        )
