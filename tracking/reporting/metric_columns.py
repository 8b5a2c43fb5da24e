"""All metrics of a run as columns, read line by line: of a long run, rows would fill the memory."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import RunError
from tracking import metric_log

WRITTEN = "written"


@dataclass(frozen=True)
class Column:
    """One metric over a run.

    Attributes:
        numbers: ``(T,)`` int64, the generations that have a value, in order.
        values: ``(T,)`` float64, NaN where it was not finite.
    """

    numbers: NDArray[np.int64]
    values: NDArray[np.float64]

    def __bool__(self) -> bool:
        return bool(np.isfinite(self.values).any())

    @property
    def last(self) -> float | None:
        """The last finite value."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite[-1]) if len(finite) else None

    @property
    def best(self) -> float | None:
        """The greatest finite value."""
        return float(np.nanmax(self.values)) if self else None

    def at(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at ``numbers``, linear between its own; NaN outside them."""
        is_finite = np.isfinite(self.values)
        if not is_finite.any():
            return np.full(len(numbers), np.nan)
        known, values = self.numbers[is_finite], self.values[is_finite]
        found: NDArray[np.float64] = np.interp(numbers, known, values, np.nan, np.nan)
        return found


NOTHING = Column(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class MetricColumns:
    """Every metric of a run by name.

    Attributes:
        columns: by metric, and `WRITTEN`: Unix seconds at which each row was.
        left_out: lines of the file that hold no row of their own: damaged, or written again.
    """

    columns: Mapping[str, Column]
    left_out: int = 0

    def __getitem__(self, name: str) -> Column:
        return self.columns.get(name, NOTHING)

    @property
    def num_generations(self) -> int:
        """How many generations have a row."""
        return len(self[WRITTEN].numbers)

    def terms(self) -> list[str]:
        """Names of the reward's terms, without the prefix."""
        prefix = "reward/"
        return sorted(n.removeprefix(prefix) for n in self.columns if n.startswith(prefix))


def read_columns(path: Path) -> MetricColumns:
    """The metrics in ``path``; none where it does not exist.

    Raises:
        RunError: it is there, and cannot be read.
    """
    numbers: dict[str, array[int]] = {}
    values: dict[str, array[float]] = {}
    num_lines = 0
    try:
        with path.open("rb") as file:
            for line in file:
                num_lines += bool(line.strip())
                row = metric_log.parse(line)
                if row is None:
                    continue
                for name, value in ((WRITTEN, row.time_s), *row.metrics.items()):
                    numbers.setdefault(name, array("q")).append(row.number)
                    values.setdefault(name, array("d")).append(value)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error})") from None
    columns = {name: _column(numbers[name], values[name]) for name in numbers}
    return MetricColumns(columns, num_lines - len(columns.get(WRITTEN, NOTHING).numbers))


def _column(numbers: array[int], values: array[float]) -> Column:
    """In order of generation; of two for one generation the later counts."""
    all_numbers = np.frombuffer(numbers, dtype=np.int64)[::-1]
    unique, index = np.unique(all_numbers, return_index=True)
    return Column(unique, np.frombuffer(values)[::-1][index])
