"""Train by OpenAI-ES: ``python es/experiment.py with lander lr=0.1``.

Every option is a key (``print_config`` lists them with their defaults), every named config sets
some (``print_named_configs`` explains them). A run keeps all it did in ``runs/<id>``:
``with resume=<id>`` goes on with it to the bit, ``with walk load_from=<id>`` begins anew from its
parameters, ``python env/render.py <id>`` shows it.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from errors import ConfigError
from es.command import Command
from search.arithmetic import use_one_thread
from search.noise import NoiseTable
from search.protocol import Strategy
from search.run_config import RunConfig

TOOL = "openai_es"


def make_strategy(config: RunConfig, theta0: NDArray[np.float32], noise: NoiseTable) -> Strategy:
    """The search that this command is for."""
    if config.tool != TOOL:
        raise ConfigError(f"tool={config.tool}: this command searches by tool={TOOL}")
    # torch takes a second to load: not for a command that only refuses or explains.
    from es.openai_es import OpenAIES

    use_one_thread()
    return OpenAIES(
        theta0,
        noise,
        run_seed=config.seed,
        pop_size=config.pop_size,
        sigma=config.sigma,
        optimizer=config.optimizer,
        lr=config.lr,
        l2coeff=config.l2coeff,
        shaping=config.shaping,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        momentum=config.momentum,
    )


if __name__ == "__main__":
    sys.exit(Command("es", make_strategy, __doc__ or "").run(sys.argv))
