"""The search that a config asks for, by its name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from errors import ConfigError
from search.arithmetic import use_one_thread
from search.noise import NoiseTable
from search.protocol import Strategy
from search.run_config import RunConfig
from training.beginning import Beginning

OPENAI_ES = "openai_es"
CMA = "CMA"
UNREPEATABLE = ("CmaFmin2", "MetaModelFmin2", "Carola8", "Carola9", "Carola10")
"""Tools of Nevergrad's that ask otherwise the second time, told the same; see nevergrad_es/."""

Notice = Callable[[str], None]


def make_strategy(
    config: RunConfig,
    beginning: Beginning,
    noise: NoiseTable | None,
    notice: Notice,
) -> Strategy:
    """The search of ``config.tool``.

    Args:
        config: the run's.
        beginning: of the run.
        noise: the table of those that draw from one; see `draws_noise`.
        notice: where a line for people goes.

    Raises:
        ConfigError: there is no such tool, or it cannot have these settings.
    """
    if noise is None:
        return _nevergrad(config, beginning, notice)
    return _openai_es(config, beginning.theta, noise)


def draws_noise(config: RunConfig) -> bool:
    """Whether the search takes its candidates from the shared noise table."""
    return config.tool == OPENAI_ES


def check_search(config: RunConfig) -> None:
    """Refuse what no search can have, without loading any.

    Raises:
        ConfigError: settings that exclude each other.
    """
    if config.recommend == "best" and config.normalize_observations:
        raise ConfigError(
            "recommend=best normalize_observations=True: a candidate's fitness holds only until "
            "the moments move on: leave recommend out"
        )
    if config.tool != OPENAI_ES:
        return
    defaults = RunConfig()
    for name in ("tool_options", "bounds", "asynchronous", "restarts"):
        value = getattr(config, name)
        if value != getattr(defaults, name):
            raise ConfigError(
                f"{name}={value} is for Nevergrad's tools, not for tool={OPENAI_ES}: leave it out, "
                f"or set tool={CMA}"
            )


def _openai_es(config: RunConfig, theta0: NDArray[np.float32], noise: NoiseTable) -> Strategy:
    # torch takes a second to load: not for a command that only refuses or explains.
    from es.openai_es import OpenAIES

    use_one_thread()
    return OpenAIES(
        theta0,
        noise,
        run_seed=config.seed,
        pop_size=config.pop_size,
        sigma=config.sigma,
        sigma_lr=config.sigma_lr,
        optimizer=config.optimizer,
        lr=config.lr,
        l2coeff=config.l2coeff,
        shaping=config.shaping,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        momentum=config.momentum,
    )


def _nevergrad(config: RunConfig, beginning: Beginning, notice: Notice) -> Strategy:
    # Nevergrad takes two seconds.
    from nevergrad_es.nevergrad_strategy import NevergradStrategy
    from nevergrad_es.tools import Tool, find_tool

    use_one_thread()

    def make_tool(budget: int) -> Tool:
        return find_tool(
            config.tool,
            config.tool_options,
            beginning.theta,
            bounds=config.bounds,
            budget=budget,
            notice=notice,
        )

    believes_best = config.recommend == "best"
    if config.recommend == "auto":
        believes_best = beginning.is_deterministic and beginning.statistics is None
    return NevergradStrategy(
        beginning.theta,
        make_tool,
        run_seed=config.seed,
        pop_size=config.pop_size,
        sigma=config.sigma,
        budget=config.num_generations * (1 if config.asynchronous else config.pop_size),
        asynchronous=config.asynchronous,
        restarts=config.restarts,
        believes_best=believes_best,
    )
