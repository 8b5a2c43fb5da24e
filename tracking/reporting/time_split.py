"""Where the seconds of a run's generations went: computing, waiting, learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracking.reporting.metric_columns import MetricColumns

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TimeSplit:
    """Stretches of a run, ``(B,)`` each; times are seconds a generation.

    Attributes:
        number_b: the first generation of the stretch.
        compute_b: in rollouts, of a worker on average.
        update_b: the search learning from it; ``None`` where the run did not record that.
        wait_b: the rest: workers without work, and what is neither.
        total_b: all of it.
        every: generations in a stretch.
    """

    number_b: Array
    compute_b: Array
    wait_b: Array
    update_b: Array | None
    total_b: Array
    every: int

    def shares(self) -> dict[str, float]:
        """Of all time, the share of each part."""
        parts = {"compute": self.compute_b, "wait": self.wait_b}
        if self.update_b is not None:
            parts["update"] = self.update_b
        total = float(self.total_b.sum())
        return {name: float(part_b.sum()) / total for name, part_b in parts.items()}


def time_split(metrics: MetricColumns, max_stretches: int) -> TimeSplit | None:
    """How the run's generations spent their time, over stretches of equally many; ``None`` where
    the run does not say.

    A generation's time is what the run's clock, which stands still between sessions, moved on by
    with it, so that this adds up where generations overlap, too.
    """
    elapsed = metrics["time/elapsed_s"]
    rollouts = metrics["work/rollouts_total"]
    if not elapsed or not rollouts or not metrics["time/evaluation_s"]:
        return None
    numbers = elapsed.numbers
    total_t = np.diff(elapsed.values, prepend=0.0)
    rollouts_t = np.diff(rollouts.at(numbers), prepend=0.0)
    workers_t = np.fmax(metrics["workers/now"].at(numbers), metrics["workers/unique"].at(numbers))
    busy_t = metrics["time/evaluation_s"].at(numbers) * rollouts_t / np.fmax(workers_t, 1.0)
    update = metrics["time/update_s"]
    update_t = update.at(numbers) if update else np.full(len(numbers), np.nan)
    is_known = np.isfinite(total_t) & (total_t >= 0) & np.isfinite(busy_t)
    if not is_known.any():
        return None
    every = -(-int(is_known.sum()) // max_stretches)
    start_b = np.arange(0, int(is_known.sum()), every)

    def means(values_t: Array) -> Array:
        counts_b = np.diff(start_b, append=int(is_known.sum()))
        sums: Array = np.add.reduceat(values_t[is_known], start_b)
        return sums / counts_b

    total_b = means(total_t)
    update_b = means(np.nan_to_num(np.fmin(update_t, total_t))) if update else None
    learning_b = np.zeros_like(total_b) if update_b is None else update_b
    compute_b = np.minimum(means(busy_t), total_b - learning_b)
    wait_b = np.maximum(total_b - learning_b - compute_b, 0.0)
    number_b = numbers[is_known][start_b].astype(float)
    return TimeSplit(number_b, compute_b, wait_b, update_b, total_b, every)
