"""Running moments of observations, merged exactly and in a stated order."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

MIN_STANDARD_DEVIATION = 1e-2


class ObservationStatistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Count, mean and sum of squared deviations of observations, each ``(O,)`` float64.

    Vectors are kept as little-endian bytes, so that a statistic is its own message and two are
    equal exactly when their bits are.
    """

    count: int
    mean_bytes: bytes
    m2_bytes: bytes

    def __post_init__(self) -> None:
        # A statistic may come from another process: one that is wrong stops here, not in a merge.
        if self.count < 0 or len(self.mean_bytes) != len(self.m2_bytes) or len(self.m2_bytes) % 8:
            raise ValueError("statistics need a count >= 0 and two float64 vectors of one length")
        if not (np.isfinite(self.mean_o).all() and np.isfinite(self.m2_o).all()):
            raise ValueError("statistics must be finite")
        if (self.m2_o < 0).any():
            raise ValueError("sums of squared deviations cannot be negative")

    @classmethod
    def empty(cls, size: int) -> ObservationStatistics:
        """No observation yet, for vectors of ``size``."""
        return cls.of(0, np.zeros(size), np.zeros(size))

    @classmethod
    def of(
        cls, count: int, mean_o: NDArray[np.float64], m2_o: NDArray[np.float64]
    ) -> ObservationStatistics:
        """From arrays of shape ``(O,)``."""
        return cls(count, mean_o.astype("<f8").tobytes(), m2_o.astype("<f8").tobytes())

    @classmethod
    def observed(cls, observations_to: NDArray[np.floating]) -> ObservationStatistics:
        """Of the ``(T, O)`` observations of one episode."""
        rows_to = np.asarray(observations_to, dtype=np.float64)
        mean_o: NDArray[np.float64] = rows_to.mean(axis=0)
        deviations_to = rows_to - mean_o
        return cls.of(len(rows_to), mean_o, np.sum(deviations_to**2, axis=0))

    @property
    def mean_o(self) -> NDArray[np.float64]:
        return np.frombuffer(self.mean_bytes, dtype="<f8")

    @property
    def m2_o(self) -> NDArray[np.float64]:
        return np.frombuffer(self.m2_bytes, dtype="<f8")

    def standard_deviation_o(self) -> NDArray[np.float64]:
        """Population standard deviation ``(O,)``, at least ``MIN_STANDARD_DEVIATION``; ones
        before the second observation.
        """
        if self.count < 2:
            return np.ones_like(self.mean_o)
        deviation_o: NDArray[np.float64] = np.sqrt(self.m2_o / self.count)
        return np.maximum(deviation_o, MIN_STANDARD_DEVIATION)

    def merged(self, other: ObservationStatistics) -> ObservationStatistics:
        """Both together (Chan, Golub and LeVeque 1979, eq. 2.1). Not associative in floating
        point: callers merge in rollout order.
        """
        if other.count == 0:
            return self
        if self.count == 0:
            return other
        count = self.count + other.count
        delta_o = other.mean_o - self.mean_o
        mean_o = self.mean_o + delta_o * (other.count / count)
        m2_o = self.m2_o + other.m2_o + delta_o**2 * (self.count * other.count / count)
        return ObservationStatistics.of(count, mean_o, m2_o)
