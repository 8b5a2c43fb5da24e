"""What is tuned, by which draws, and the commands that settings become.

Both sides try the same draws: policy, normalisation, population, sigma, optimiser, and how fast a
step is beside sigma. Each side's first trial is what it says itself: our config ``lander``;
EvoTorch's ``lunarlander`` of examples/scripts/rl_clipup.py. Its second is what the other says.
Either side learns a sigma for each parameter in all of them, at ``lander``'s rate or PGPE's own.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rivals.evotorch_command import evotorch_command
from rivals.evotorch_policies import network_words

from policy.spec import PolicySpec
from search.configs import NAMED_CONFIGS

ROOT = Path(__file__).resolve().parents[2]
OURS, EVOTORCH = "ours", "EvoTorch"
SIDES = (OURS, EVOTORCH)
ENV = "LunarLanderContinuous-v3"
SIZE_IN, SIZE_OUT = 8, 2

_NETWORKS: dict[str, tuple[int, ...]] = {"linear": (), "16x16": (16, 16), "64x64": (64, 64)}
# A parameter among many may move less: sigma's range, each drawn log-uniformly.
_SIGMA = {"linear": (0.2, 1.5), "16x16": (0.05, 0.5), "64x64": (0.02, 0.2)}
_STEP = (0.1, 1.0)
_POP_SIZES = (40, 60, 100, 200)
# ClipUp's authors: a fifteenth of the radius at most. Their rule is the middle of our range.
_SPEEDS_IN_RADIUS = 15
_LR_OF_SPEED = {OURS: 0.5, EVOTORCH: 0.75}
"""ClipUp's step size of its greatest speed: ours by its paper, EvoTorch's by its script."""
_ENDLESS = 100_000


class Settings(NamedTuple):
    """One way to learn to land.

    Attributes:
        network: a name of `_NETWORKS`.
        output: tanh, or none, which is clipped.
        normalize: observations, by running moments.
        pop_size: candidates of a generation.
        sigma: of the search distribution, at first.
        optimizer: adam or clipup.
        lr: its step size.
        biases: whether layers have them.
        sigma_lr: how fast ours learns a sigma for each parameter; EvoTorch's PGPE has its own rate.
    """

    network: str
    output: str
    normalize: bool
    pop_size: int
    sigma: float
    optimizer: str
    lr: float
    biases: bool = True
    sigma_lr: float = 0.0

    @property
    def policy(self) -> PolicySpec:
        hidden = _NETWORKS[self.network]
        return PolicySpec(
            network="feed_forward" if hidden else "linear",
            hidden_sizes=hidden,
            output_activation=self.output,
            normalize_observations=self.normalize,
        )

    def __str__(self) -> str:
        words = [self.network if self.biases else f"{self.network} without biases"]
        words += ["tanh" if self.output == "tanh" else "clipped"]
        words += ["normalised"] if self.normalize else []
        return (
            f"{', '.join(words)}, population {self.pop_size}, sigma {self.sigma:.3g}, "
            f"{self.optimizer} {self.lr:.3g}"
            + (f", sigma_lr {self.sigma_lr:.3g}" if self.sigma_lr else "")
        )


def documented(side: str) -> Settings:
    """What a side recommends for this environment."""
    if side == EVOTORCH:
        # radius_init 4.5 over 16 parameters, max_speed 0.3
        lr = 0.3 * _LR_OF_SPEED[side]
        return Settings("linear", "none", False, 200, 4.5 / 4, "clipup", lr, biases=False)
    lander = NAMED_CONFIGS["lander"].options
    return Settings(
        lander["network"],
        lander["output_activation"],
        False,
        lander["pop_size"],
        lander["sigma"],
        lander["optimizer"],
        lander["lr"],
        sigma_lr=lander["sigma_lr"],
    )


def drawn(side: str, trial: int) -> Settings:
    """Trial 0 is what a side says, 1 what the other says; then come the same draws for both."""
    if trial == 0:
        return documented(side)
    if trial == 1:
        other = EVOTORCH if side == OURS else OURS
        settings = documented(other)._replace(
            biases=documented(side).biases, sigma_lr=documented(side).sigma_lr
        )
        if settings.optimizer == "clipup":
            share = _LR_OF_SPEED[side] / _LR_OF_SPEED[other]
            settings = settings._replace(lr=settings.lr * share)
        return settings
    random = np.random.default_rng([2020, trial])
    network = str(random.choice(list(_NETWORKS)))
    sigma, step = (_log_uniform(random, span) for span in (_SIGMA[network], _STEP))
    output, normalize = str(random.choice(["tanh", "none"])), bool(random.integers(2))
    pop_size, by_clipup = int(random.choice(_POP_SIZES)), bool(random.integers(2))
    sigma_lr = documented(side).sigma_lr
    settings = Settings(
        network, output, normalize, pop_size, sigma, "adam", sigma * step, sigma_lr=sigma_lr
    )
    if not by_clipup:
        return settings
    relative = step / math.sqrt(_STEP[0] * _STEP[1])
    max_speed = sigma * math.sqrt(_num_parameters(network)) / _SPEEDS_IN_RADIUS * relative
    return settings._replace(optimizer="clipup", lr=max_speed * _LR_OF_SPEED[side])


def _log_uniform(random: np.random.Generator, span: tuple[float, float]) -> float:
    low, high = span
    return float(f"{low * (high / low) ** random.random():.3g}")


def _num_parameters(network: str) -> int:
    sizes = [SIZE_IN, *_NETWORKS[network], SIZE_OUT]
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def command(
    side: str, settings: Settings, seed: int, folder: Path, *, evotorch: str, cores: int
) -> list[str]:
    """What a user would type, and that every generation's theta is kept below ``folder``."""
    if side == OURS:
        return [sys.executable, str(ROOT / "es" / "experiment.py"), "with", "lander"] + [
            f"{name}={value}" for name, value in _options(settings, seed, folder).items()
        ]
    task = {
        "env": ENV,
        "network": network_words(settings.policy, biases=settings.biases),
        "normalize": settings.normalize,
        "num_actors": cores,
        "pop_size": settings.pop_size,
        "sigma": settings.sigma,
        "optimizer": settings.optimizer,
        "lr": settings.lr,
        "optimizer_config": (
            {"max_speed": settings.lr / _LR_OF_SPEED[side]}
            if settings.optimizer == "clipup"
            else {}
        ),
        "seed": seed,
        "folder": str(folder.resolve()),
    }
    return evotorch_command(evotorch, "evotorch_lander.py", task)


def _options(settings: Settings, seed: int, folder: Path) -> dict[str, Any]:
    """Of our command. Nothing ends the run but whoever watches it."""
    policy = settings.policy
    return {
        "network": policy.network,
        "hidden_sizes": list(policy.hidden_sizes),
        "output_activation": policy.output_activation,
        "initial_theta": "policy" if policy.hidden_sizes else "zeros",
        "normalize_observations": policy.normalize_observations,
        "pop_size": settings.pop_size,
        "sigma": settings.sigma,
        "sigma_lr": settings.sigma_lr,
        "optimizer": settings.optimizer,
        "lr": settings.lr,
        "seed": seed,
        "runs_dir": folder,
        "num_generations": _ENDLESS,
        "num_serializations": _ENDLESS,
        "max_wall_s": None,
        "final_episodes": 0,
        "mongo_url": "off",
        "notify": "off",
    }
