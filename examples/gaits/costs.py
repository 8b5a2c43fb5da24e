"""The walker's reward without the cliff at its end: ``reward=costs:steady``, ``costs:rate``,
``costs:phase``.

The task pays a footstep, and charges effort and speed error, when the foot comes down. One that
comes down just after the last moment loses five points, which hides all else from a search that is
nearly there. Here being up is paid each step.
"""

from __future__ import annotations

from typing import Any

WHOLE_S = 10.0
LEAST_S = 0.5
STEPS = 4


def steady(moment: Any) -> dict[str, float]:
    """A footstep's 10 a second are paid each step; what it costs is charged when it ends."""
    terms = moment.terms
    return {"alive": 0.2, "velocity": terms["velocity"], "effort": terms["effort"]}


class _Rate:
    """What a whole walk would cost at the mean rate until the last foot came down.

    `steady` favours a walk whose last foot comes down early: what follows costs nothing.
    """

    def __init__(self) -> None:
        self.before_s = 0.0
        self.begin()

    def begin(self) -> None:
        """An episode begins."""
        self.cost = self.paid = 0.0
        self.strikes_s = [0.0]

    def __call__(self, moment: Any) -> dict[str, float]:
        if moment.time_s <= self.before_s:
            self.begin()
        self.before_s = moment.time_s
        terms = moment.terms
        due = 0.0
        if terms["footstep"] > 0:
            self.cost += terms["velocity"] + terms["effort"]
            self.strikes_s.append(moment.time_s)
            total = self.total(moment.time_s)
            due, self.paid = total - self.paid, total
        return {"alive": 0.2, "cost": due}

    def total(self, now_s: float) -> float:
        """Of the whole walk, as it looks when a foot comes down."""
        return self.cost * WHOLE_S / max(now_s, LEAST_S)


class _Phase(_Rate):
    """`_Rate`, and what the task takes where no foot comes down at its very end: 10 a second.

    The foot that will come down nearest to the end, by the period of the last four steps, may do so
    before or after it: no cliff on either side.
    """

    def total(self, now_s: float) -> float:
        total = super().total(now_s)
        first_s, *_, last_s = last = self.strikes_s[-1 - STEPS :]
        if len(last) <= STEPS:
            return total
        period_s = (last_s - first_s) / STEPS
        left_s = (WHOLE_S - now_s) % period_s if now_s <= WHOLE_S else 0.0
        return total - 10 * min(left_s, period_s - left_s)


rate = _Rate()
phase = _Phase()
