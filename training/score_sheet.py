"""What a policy scored, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from env.success import Success
from search.messages import RolloutRecord
from search.scores import Scores

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class ScoreSheet:
    """Scores, and what counts as a success.

    Args:
        scores: of one episode at least.
        success: what an episode must come to, or ``None`` where the environment does not say.
    """

    def __init__(self, scores: Scores, success: Success | None) -> None:
        self._scores = scores
        self._success = success

    @property
    def success_rate(self) -> float | None:
        """Share of the scored episodes; ``None`` where nobody says what a success is."""
        if self._success is None:
            return None
        return sum(map(self._succeeds, self._scores.scored)) / len(self._scores.scored)

    def lines(self) -> Iterator[str]:
        """A line an episode, then what they come to: the last one has the means."""
        scores = self._scores
        yield "episode     reward   steps  distance"
        for record in scores.scored:
            distance = "" if record.distance_m is None else f"{record.distance_m:7.2f} m"
            row = f"{record.rollout:7d} {record.fitness:10.2f} {record.length:7d} {distance}"
            yield row.rstrip()
        for record in scores.failed:
            yield f"episode {record.rollout} failed: {record.error}"
        if scores.terms:
            yield ", ".join(f"{name} {value:.2f}" for name, value in scores.terms.items())
        if len(scores.scored) > 1:
            quantiles = _quantiles([record.fitness for record in scores.scored])
            shares = ", ".join(f"{share:.0%} {value:.2f}" for share, value in quantiles.items())
            yield f"quantiles of the reward: {shares}"
        if self._success is not None:
            count = sum(map(self._succeeds, scores.scored))
            yield f"{count} of {len(scores.scored)} succeed ({self._success})"
        yield scores.summary()

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; rewards and distances (m) are of whole episodes, lengths
        in simulator steps.
        """
        scores, success = self._scores, self._success
        distances = [r.distance_m for r in scores.scored if r.distance_m is not None]
        return {
            "episodes": len(scores.scored),
            "failed": len(scores.failed),
            "reward": {
                "mean": scores.reward,
                "standard_error": scores.standard_error if len(scores.scored) > 1 else None,
                **_spread([record.fitness for record in scores.scored]),
            },
            "length_steps": {
                "mean": scores.steps,
                **_spread([float(record.length) for record in scores.scored]),
            },
            "distance_m": (
                {"mean": scores.distance_m, **_spread(distances)} if distances else None
            ),
            "success_rate": self.success_rate,
            "success": None if success is None else str(success),
            "reward_terms": scores.terms,
            "each": [self._row(record) for record in scores.scored],
            "failures": [
                {"episode": record.rollout, "error": record.error} for record in scores.failed
            ],
        }

    def _row(self, record: RolloutRecord) -> dict[str, Any]:
        row: dict[str, Any] = {
            "episode": record.rollout,
            "reward": record.fitness,
            "length_steps": record.length,
        }
        if record.distance_m is not None:
            row["distance_m"] = record.distance_m
        if self._success is not None:
            row["success"] = self._succeeds(record)
        return row

    def _succeeds(self, record: RolloutRecord) -> bool:
        return self._success is not None and self._success.is_reached(record.fitness, record.length)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    quantiles = {f"{share:g}": value for share, value in _quantiles(values).items()}
    return {"least": min(values), "most": max(values), "quantiles": quantiles}


def _quantiles(values: Sequence[float]) -> dict[float, float]:
    """By share, linear between neighbours."""
    found = np.quantile(np.array(values), QUANTILES).tolist()
    return dict(zip(QUANTILES, found, strict=True))
