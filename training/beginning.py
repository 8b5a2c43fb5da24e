"""What a run begins with: its first parameters, its first moments, its episode cap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.gait_file import read_gait
from errors import ConfigError
from policy.actor import Actor, build_actor
from policy.parameters import initial_theta
from policy.statistics import ObservationStatistics
from search.run_config import RunConfig
from tracking.mongo.place import find_mongo
from tracking.store import open_run

GAIT_SUFFIX = ".json"
_WITHOUT_HIDDEN_LAYERS = ("linear", "reflex", "random")


class Beginning(NamedTuple):
    """Where a run begins.

    Attributes:
        theta: ``(D,)`` float32.
        statistics: observation moments, or None where nothing is normalised.
        max_ep_length, final_max_ep_length: episode cap in simulator steps, in the closing test.
        is_deterministic: whether episodes of one theta never differ.
    """

    theta: NDArray[np.float32]
    statistics: ObservationStatistics | None
    max_ep_length: int | None
    final_max_ep_length: int | None
    is_deterministic: bool


def begin(config: RunConfig, include: Path | None, notice: Callable[[str], None]) -> Beginning:
    """The beginning that ``config`` asks for.

    Raises:
        ConfigError: the environment or the policy cannot be built, or what is to be loaded does not
            fit them.
    """
    env = registry.make(config.env_spec, include=include)
    try:
        actor = build_actor(
            config.policy_spec,
            env.observation_space,
            env.action_space,
            include=include,
            notice=notice,
        )
        theta, statistics = _first_theta(config, env, actor, include, notice)
    finally:
        env.close()
    fixed_world = config.env_seed is not None and config.env_seed >= 0
    never_differ = registry.is_deterministic(config.env_spec) or fixed_world
    return Beginning(
        theta,
        statistics,
        registry.time_limit(config.env_spec, include),
        registry.time_limit(config.final_env_spec, include),
        never_differ and actor.is_deterministic,
    )


def _first_theta(
    config: RunConfig,
    env: gymnasium.Env[Any, Any],
    actor: Actor,
    include: Path | None,
    notice: Callable[[str], None],
) -> tuple[NDArray[np.float32], ObservationStatistics | None]:
    statistics = None
    if config.normalize_observations:
        statistics = ObservationStatistics.empty(actor.observation_size)
    if config.load_from is None and config.initial_theta == "zeros":
        if config.network not in _WITHOUT_HIDDEN_LAYERS:
            notice(
                f"initial_theta=zeros with network={config.network}: hidden units that are all "
                "zero learn slowly; initial_theta=policy begins elsewhere"
            )
        return np.zeros(actor.num_parameters, dtype=np.float32), statistics
    if config.load_from is None:
        theta = initial_theta(
            config.policy_spec,
            env.observation_space,
            env.action_space,
            config.seed,
            include=include,
        )
        return theta, statistics
    theta, loaded_statistics = _loaded(config)
    if len(theta) != actor.num_parameters:
        raise ConfigError(
            f"load_from={config.load_from}: its theta has {len(theta)} parameters, "
            f"this policy on {config.env_name} has {actor.num_parameters}: use that run's "
            "environment, network and hidden_sizes"
        )
    if statistics is not None and loaded_statistics is not None:
        statistics = loaded_statistics
    return theta, statistics


def _loaded(
    config: RunConfig,
) -> tuple[NDArray[np.float32], ObservationStatistics | None]:
    """Parameters and moments of a gait file, or of a run's newest checkpoint."""
    load_from = str(config.load_from)
    if load_from.endswith(GAIT_SUFFIX):
        gait = read_gait(Path(load_from))
        return gait.theta_d, gait.statistics
    place = find_mongo(config.mongo_url)
    checkpoint = open_run(load_from, Path(config.runs_dir), place).checkpoint()
    return checkpoint.theta, checkpoint.statistics
