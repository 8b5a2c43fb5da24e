"""The walker's reward without the cliff at its end: ``reward=costs:steady``, ``costs:rate``.

The task pays a footstep, and charges effort and speed error, when the foot comes down. One that
comes down just after the last moment loses five points, which hides all else from a search that is
nearly there. Here being up is paid each step.
"""

from __future__ import annotations

from typing import Any

WHOLE_S = 10.0
LEAST_S = 0.5


def steady(moment: Any) -> dict[str, float]:
    """A footstep's 10 a second are paid each step; what it costs is charged when it ends."""
    terms = moment.terms
    return {"alive": 0.2, "velocity": terms["velocity"], "effort": terms["effort"]}


class _Rate:
    """What a whole walk would cost at the mean rate until the last foot came down.

    `steady` favours a walk whose last foot comes down early: what follows costs nothing.
    """

    before_s = 0.0
    cost = paid = 0.0

    def __call__(self, moment: Any) -> dict[str, float]:
        if moment.time_s <= self.before_s:  # an episode begins
            self.cost = self.paid = 0.0
        self.before_s = moment.time_s
        terms = moment.terms
        due = 0.0
        if terms["footstep"] > 0:
            self.cost += terms["velocity"] + terms["effort"]
            total = self.cost * WHOLE_S / max(moment.time_s, LEAST_S)
            due, self.paid = total - self.paid, total
        return {"alive": 0.2, "cost": due}


rate = _Rate()
