"""EvoTorch as its documentation has it: a problem of reinforcement learning on several processes.

Imported by the scripts that run in EvoTorch's own Python (requirements-evotorch.txt); nothing of
ours may be imported here.
"""

from __future__ import annotations

import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Ray reads it when it is imported. It starts sooner without its dashboard, and nobody looks at it.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # or it writes one into the home
os.environ.setdefault("EVOTORCH_VERBOSE_LEVEL", "0")


@contextmanager
def gym_problem(
    env: str, network: str, *, num_actors: int, normalize: bool = False, **options: Any
) -> Iterator[Any]:
    """A `GymNE` whose actors are up, and which is ended with them.

    Args:
        env: Gymnasium's id.
        network: in EvoTorch's words.
        num_actors: how many processes evaluate.
        normalize: observations, by their running moments.
        options: others of GymNE.
    """
    warnings.simplefilter("ignore")  # of its packages about each other
    # Ray's processes look for modules where they are started, and EvoTorch would take our folder
    # ``sacred`` for the package of that name.
    os.chdir(Path(__file__).parent)
    import ray
    from evotorch.neuroevolution import GymNE

    ray.init(
        num_cpus=num_actors,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    try:
        yield GymNE(
            env,
            network,
            num_actors=num_actors,
            observation_normalization=normalize,
            **options,
        )
    finally:
        ray.shutdown()
