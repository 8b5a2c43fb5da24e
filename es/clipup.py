"""ClipUp: steps of a fixed length, and a speed limit; made for gradients of which only the
direction is believed, as those of evolution strategies are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class ClipUp(torch.optim.Optimizer):
    """Toklu, Liskowski and Srivastava 2020, "ClipUp", algorithm 1 (minimising, as torch does):

        v <- momentum * v - lr * g / |g|,  shortened to max_speed where it is longer
        theta <- theta + v

    All norms are of the whole vector: one tensor of parameters is one search point. A gradient of
    zero only lets the speed fade.

    Args:
        params: one tensor.
        lr: length of what a step adds to the velocity, in units of theta.
        max_speed: length of a step at most; the paper's rule is twice ``lr``.
        momentum: share of the velocity that stays.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float, max_speed: float, momentum: float
    ) -> None:
        super().__init__(params, {"lr": lr, "max_speed": max_speed, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every tensor against its gradient."""
        for group in self.param_groups:
            for theta in group["params"]:
                state = self.state[theta]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(theta)
                velocity = state["velocity"].mul_(group["momentum"])
                if length := _length(theta.grad):
                    velocity.sub_(theta.grad, alpha=group["lr"] / length)
                speed = _length(velocity)
                if speed > group["max_speed"]:
                    velocity.mul_(group["max_speed"] / speed)
                theta.add_(velocity)


def _length(vector: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))
