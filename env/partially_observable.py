"""Classic tasks whose velocities are hidden, so that a policy without memory cannot do well.

As in Heess, Hunt, Lillicrap and Silver 2015, "Memory-based control with recurrent neural networks".
A hidden entry is always 0: observations keep the shape of the full task's, and a policy trained on
one can be loaded into the other.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray

_Reset = tuple[Any, dict[str, Any]]
_Step = tuple[Any, Any, bool, bool, dict[str, Any]]


class PartiallyObservablePendulum(PendulumEnv):
    """``Pendulum-v1`` without the angular velocity.

    | | |
    | --- | --- |
    | action | torque, ``Box(-2, 2, (1,))``, in N m |
    | observation | cos(angle), sin(angle), 0 (the angular velocity) |
    | reward | -(angle^2 + 0.1 velocity^2 + 0.001 torque^2), -16.3 to 0 |
    | start | angle -pi to pi, velocity -1 to 1 rad/s, uniform |
    | end | truncated after 200 steps |
    """

    hidden: ClassVar[list[int]] = [2]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> _Reset:
        observation, info = super().reset(seed=seed, options=options)
        return _hidden(observation, self.hidden), info

    def step(self, action: Any) -> _Step:
        observation, *rest = super().step(action)  # type: ignore[no-untyped-call]
        return _hidden(observation, self.hidden), *rest


class PartiallyObservableCartPole(CartPoleEnv):
    """``CartPole-v1`` without both velocities.

    | | |
    | --- | --- |
    | action | 0: push left, 1: push right |
    | observation | position, 0 (velocity), pole angle, 0 (angular velocity) |
    | reward | 1 a step |
    | start | all four uniform in -0.05 to 0.05 |
    | end | position beyond 2.4, pole beyond 12 degrees; truncated after 500 steps |
    """

    hidden: ClassVar[list[int]] = [1, 3]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> _Reset:
        observation, info = super().reset(seed=seed, options=options)
        return _hidden(observation, self.hidden), info

    def step(self, action: Any) -> _Step:
        observation, *rest = super().step(action)  # type: ignore[no-untyped-call]
        return _hidden(observation, self.hidden), *rest


class PartiallyObservableCartPoleEasy(PartiallyObservableCartPole):
    """``CartPole-v1`` without the pole's angular velocity; the cart's velocity is seen.

    All else as `PartiallyObservableCartPole`.
    """

    hidden: ClassVar[list[int]] = [3]


def _hidden(observation: NDArray[np.float32], entries: list[int]) -> NDArray[np.float32]:
    observation[entries] = 0.0  # in place: Gymnasium builds a fresh array for each step
    return observation
