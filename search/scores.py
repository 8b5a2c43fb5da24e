"""What the episodes of one policy came to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from search.messages import RolloutRecord


@dataclass(frozen=True)
class Scores:
    """Records of episodes, in the order of their numbers.

    Attributes:
        scored: those with a reward.
        failed: those without.
    """

    scored: tuple[RolloutRecord, ...]
    failed: tuple[RolloutRecord, ...]

    @classmethod
    def of(cls, records: Iterable[RolloutRecord]) -> Scores:
        """The scores in ``records``."""
        rows = list(records)
        return cls(
            tuple(record for record in rows if record.status == "ok"),
            tuple(record for record in rows if record.status != "ok"),
        )

    @property
    def reward(self) -> float:
        """Mean over the scored episodes."""
        return _mean([record.fitness for record in self.scored])

    @property
    def standard_error(self) -> float:
        """Of that mean, over episodes; 0 of a single one."""
        count = len(self.scored)
        if count < 2:
            return 0.0
        mean = self.reward
        squares = math.fsum((record.fitness - mean) ** 2 for record in self.scored)
        return math.sqrt(squares / (count - 1) / count)

    @property
    def steps(self) -> float:
        """Mean length in simulator steps."""
        return _mean([float(record.length) for record in self.scored])

    @property
    def distance_m(self) -> float | None:
        """Mean distance; None where the environment does not say."""
        distances = [r.distance_m for r in self.scored if r.distance_m is not None]
        return _mean(distances) if distances else None

    @property
    def terms(self) -> dict[str, float]:
        """Mean sum of each of the reward's terms."""
        names = sorted({name for record in self.scored for name in record.terms})
        return {name: _mean([r.terms.get(name, 0.0) for r in self.scored]) for name in names}

    def summary(self) -> str:
        """Reward, length and distance in one line."""
        count = len(self.scored)
        parts = [
            f"reward {self.reward:.2f} +- {self.standard_error:.2f}"
            if count > 1
            else f"reward {self.reward:.2f}",
            f"{self.steps:.0f} steps",
        ]
        if self.distance_m is not None:
            parts.append(f"{self.distance_m:.2f} m")
        episodes = "1 episode" if count == 1 else f"{count} episodes"
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{', '.join(parts)}, over {episodes}{failed}"


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
