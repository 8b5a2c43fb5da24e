"""A curve in one line of text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

_MAX_KEPT = 1024
BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"


class History:
    """Values in the order they came, thinned evenly so that at most 1,024 are kept."""

    def __init__(self) -> None:
        self._kept: list[float] = []
        self._every = 1
        self._count = 0
        self._last = math.nan

    def append(self, value: float) -> None:
        """Add a value; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        if self._count % self._every == 0:
            self._kept.append(value)
        self._count += 1
        self._last = value
        if len(self._kept) > _MAX_KEPT:
            del self._kept[1::2]
            self._every *= 2

    def values(self) -> list[float]:
        """What is kept, the newest value last."""
        newest_is_kept = self._count == 0 or (self._count - 1) % self._every == 0
        return self._kept if newest_is_kept else [*self._kept, self._last]


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """At most ``width`` characters; each the mean of its share of ``values``, lowest to highest.

    >>> sparkline([0, 1, 2, 3], 10)
    '▁▃▆█'
    """
    if not values or width < 1:
        return ""
    columns = min(width, len(values))
    edges = [round(i * len(values) / columns) for i in range(columns + 1)]
    means = [sum(values[start:stop]) / (stop - start) for start, stop in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    if high <= low:
        return blocks[0] * columns
    top = len(blocks) - 1
    return "".join(blocks[round((mean - low) / (high - low) * top)] for mean in means)
