"""What the horizontal axis of a curve may be, and its unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.reporting.metric_columns import MetricColumns

Array = NDArray[np.float64]


class Axis(NamedTuple):
    """A horizontal axis.

    Attributes:
        name: in style sheets.
        title: what people choose it by.
        metric: whose value places a generation on it; empty: the generation's number.
        units: divisor and label by the size from which on they are used, largest first.
    """

    name: str
    title: str
    metric: str
    units: tuple[tuple[float, float, str], ...]

    def unit(self, largest: float) -> tuple[float, str]:
        """Divisor and label for an axis up to ``largest``."""
        for least, divisor, label in self.units:
            if largest >= least:
                return divisor, label
        return self.units[-1][1:]

    def places(self, metrics: MetricColumns, numbers: NDArray[np.int64]) -> Array:
        """Where generations ``numbers`` lie on it; NaN where the run does not say."""
        return metrics[self.metric].at(numbers) if self.metric else numbers.astype(float)


AXES = (
    Axis(
        "steps",
        "simulator steps",
        "work/env_steps_total",
        (
            (2e9, 1e9, "billion simulator steps"),
            (2e6, 1e6, "million simulator steps"),
            (2e3, 1e3, "thousand simulator steps"),
            (0.0, 1.0, "simulator steps"),
        ),
    ),
    Axis(
        "time",
        "training time",
        "time/elapsed_s",
        (
            (2 * 86_400, 86_400, "training time (days)"),
            (2 * 3600, 3600, "training time (hours)"),
            (120, 60, "training time (minutes)"),
            (0.0, 1.0, "training time (seconds)"),
        ),
    ),
    Axis("generation", "generation", "", ((0.0, 1.0, "generation"),)),
)
