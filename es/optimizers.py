"""Optimisers by name, torch's and one of ours, with fixed arithmetic.

Adding one: a function that builds it, and its line in `OPTIMIZERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from errors import ConfigError, did_you_mean
from es.clipup import ClipUp


class OptimizerSettings(NamedTuple):
    """Settings by their names in the configuration; each optimiser takes what it knows."""

    lr: float
    l2coeff: float = 0.0
    momentum: float = 0.9
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8

    @property
    def adam(self) -> dict[str, Any]:
        """What the members of Adam's family share."""
        return {"betas": (self.adam_beta1, self.adam_beta2), "eps": self.adam_epsilon}


class OptimizerKind(NamedTuple):
    """How to build one, and whether it decays theta itself, beside the gradient."""

    build: Callable[[list[torch.Tensor], OptimizerSettings], torch.optim.Optimizer]
    decays_theta: bool = False


# One tensor at a time, by plain kernels: fused and foreach ones may round otherwise.
_PLAIN: dict[str, Any] = {"foreach": False, "fused": False}
_NO_FOREACH: dict[str, Any] = {"foreach": False}

OPTIMIZERS: dict[str, OptimizerKind] = {
    # Kingma and Ba 2015
    "adam": OptimizerKind(lambda p, s: torch.optim.Adam(p, lr=s.lr, **s.adam, **_PLAIN)),
    # Loshchilov and Hutter 2019: l2coeff is the decay of theta, not a term of the gradient
    "adamw": OptimizerKind(
        lambda p, s: torch.optim.AdamW(p, lr=s.lr, weight_decay=s.l2coeff, **s.adam, **_PLAIN),
        decays_theta=True,
    ),
    "adamax": OptimizerKind(lambda p, s: torch.optim.Adamax(p, lr=s.lr, **s.adam, **_NO_FOREACH)),
    "sgd": OptimizerKind(lambda p, s: torch.optim.SGD(p, lr=s.lr, momentum=s.momentum, **_PLAIN)),
    "rmsprop": OptimizerKind(
        lambda p, s: torch.optim.RMSprop(p, lr=s.lr, momentum=s.momentum, **_NO_FOREACH)
    ),
    # Toklu et al. 2020: its speed limit by their rule
    "clipup": OptimizerKind(lambda p, s: ClipUp(p, s.lr, 2 * s.lr, s.momentum)),
    "adagrad": OptimizerKind(lambda p, s: torch.optim.Adagrad(p, lr=s.lr, **_PLAIN)),
}


class ThetaOptimizer:
    """Theta and the optimiser that moves it. Minimises, as torch does.

    Not thread-safe in its bits unless torch has one thread: the commands see to that.

    Raises:
        ConfigError: an unknown name, or a setting out of its range.
    """

    def __init__(self, theta0: NDArray[np.float32], name: str, settings: OptimizerSettings) -> None:
        """Start from a copy of ``(D,)`` float32."""
        _check(settings)
        if name not in OPTIMIZERS:
            raise ConfigError(
                f"optimizer={name}: expected one of {', '.join(OPTIMIZERS)}"
                f"{did_you_mean(name, OPTIMIZERS)}"
            )
        kind = OPTIMIZERS[name]
        self.name = name
        self._l2coeff = 0.0 if kind.decays_theta else settings.l2coeff
        self._theta = torch.tensor(theta0, dtype=torch.float32)
        self._optimizer = kind.build([self._theta], settings)

    @property
    def theta(self) -> NDArray[np.float32]:
        """``(D,)`` float32, read-only view that a step changes."""
        view: NDArray[np.float32] = self._theta.numpy()
        view.flags.writeable = False
        return view

    def ascend(self, gradient: NDArray[np.float32]) -> None:
        """One step up ``(D,)`` float32: theta.grad = -g + l2coeff * theta."""
        self._theta.grad = torch.from_numpy(gradient).neg()
        if self._l2coeff:
            self._theta.grad.add_(self._theta, alpha=self._l2coeff)
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """Theta, the optimiser's name, its moments and steps: numpy copies by name."""
        moments = {
            f"optimizer/{key}": value.numpy().copy() if torch.is_tensor(value) else value
            for key, value in self._optimizer.state[self._theta].items()
            if value is not None
        }
        return {"theta": self.theta.copy(), "optimizer": self.name, **moments}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            ConfigError: it is of another optimiser, or of another number of parameters.
        """
        if state["optimizer"] != self.name:
            raise ConfigError(
                f"optimizer={self.name}, but the run was made with {state['optimizer']}: "
                "resume it with its own, or start anew with load_from"
            )
        if np.shape(state["theta"]) != tuple(self._theta.shape):
            raise ConfigError(
                f"the run has {np.size(state['theta'])} parameters, the policy here "
                f"{len(self._theta)}: resume it with its own env and policy"
            )
        self._theta.copy_(torch.tensor(state["theta"]))
        self._optimizer.state[self._theta] = {
            key.removeprefix("optimizer/"): torch.tensor(value)
            if isinstance(value, np.ndarray)
            else value
            for key, value in state.items()
            if key.startswith("optimizer/")
        }


def _check(settings: OptimizerSettings) -> None:
    if not 0 < settings.lr < math.inf:
        raise ConfigError(f"lr={settings.lr}: expected more than 0, for example lr=0.01")
    if not 0 <= settings.l2coeff < math.inf:
        raise ConfigError(f"l2coeff={settings.l2coeff}: expected 0 or more")
    if not 0 < settings.adam_epsilon < math.inf:
        raise ConfigError(f"adam_epsilon={settings.adam_epsilon}: expected more than 0")
    for name in ("momentum", "adam_beta1", "adam_beta2"):
        if not 0 <= getattr(settings, name) < 1:
            raise ConfigError(f"{name}={getattr(settings, name)}: expected 0 or more, below 1")
