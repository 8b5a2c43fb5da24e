"""One episode: the loop in which nearly all time of nearly all processes goes by."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from env.wrappers import FrameSkip
from policy.actor import Actor
from policy.included import one_line
from policy.observations import observation_encoder
from policy.statistics import ObservationStatistics

_UNUSED = np.random.Generator(np.random.Philox(0))  # for actors that draw nothing


class EpisodeFailed(Exception):
    """The episode has no fitness. Carries one line that says why."""


class EpisodeAbandoned(Exception):
    """Nobody wants the episode any more; it ended between two steps."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What came of one episode.

    Attributes:
        fitness: sum of the rewards, finite.
        length: simulator steps.
        statistics: of the observations that were acted on, if they were asked for.
        terms: sums of ``info["reward_terms"]``, where the environment gives them.
        distance_m: how far forward it ended; see `distance_of`.
    """

    fitness: float
    length: int
    statistics: ObservationStatistics | None
    terms: dict[str, float]
    distance_m: float | None


def run_episode(
    env: gym.Env[Any, Any],
    actor: Actor,
    *,
    seed: int,
    policy_seed: int,
    max_steps: int | None,
    frame_skip: int = 1,
    observe: bool = False,
    reset_options: Mapping[str, Any] | None = None,
    abandoned: Callable[[], bool] | None = None,
) -> Episode:
    """Reset, then act until the end: a function of theta, the seeds and the cap alone.

    Args:
        env: from `env.registry.make`, without a time limit of its own.
        actor: with theta loaded.
        seed: of the environment.
        policy_seed: of the policy's noise; deterministic actors do not see it.
        max_steps: cap in simulator steps, at least 1, or ``None``.
        frame_skip: what ``env`` was made with.
        observe: also return the moments of the observations.
        reset_options: handed to the environment's reset.
        abandoned: asked before the reset and before every fourth step whether to stop.

    Raises `EpisodeAbandoned` when ``abandoned`` says so; a reset makes ``env`` as good as new.
    Raises `EpisodeFailed` when the environment raises, or when a reward or an observation is NaN or
    infinite.
    """
    skipping = _frame_skip_of(env)
    if frame_skip != (skipping.frame_skip if skipping else 1):
        raise ValueError(f"frame_skip={frame_skip}, but the environment was made with another")
    if skipping:
        skipping.max_steps = max_steps
    deterministic = actor.is_deterministic
    rng = _UNUSED if deterministic else np.random.Generator(np.random.Philox(policy_seed))
    try:
        # NaN and infinity are told apart below, once, and not by a warning for each of them.
        with np.errstate(over="ignore", invalid="ignore"):
            if abandoned is not None and abandoned():
                raise EpisodeAbandoned
            # A simple environment's reset may know of no options.
            options = {"options": dict(reset_options)} if reset_options else {}
            observation, _ = env.reset(seed=seed, **options)
            _check_shape(observation, env.observation_space)
            actor.reset(rng)
            limit = max_steps or sys.maxsize
            return _loop(env, actor, observation, limit, skipping, observe, abandoned)
    except (EpisodeFailed, EpisodeAbandoned):
        raise
    except Exception as error:  # whatever a simulator does
        raise EpisodeFailed(f"the episode raised {one_line(error)}") from error


def _loop(
    env: gym.Env[Any, Any],
    actor: Actor,
    observation: Any,
    max_steps: int,
    skipping: FrameSkip | None,
    observe: bool,
    abandoned: Callable[[], bool] | None,
) -> Episode:
    step, act = env.step, actor.act
    space = env.observation_space
    # Adding up the observations finds any NaN or infinity among them, and is the cheapest way to.
    sums = space.dtype is not None and space.dtype.kind == "f"
    total = np.add(observation, 0.0, dtype=np.float64) if sums else np.zeros(1)
    add = np.add
    rows: list[Any] = []
    terms: dict[str, float] = {}
    fitness = 0.0
    length = 0
    has_terms = False
    while length < max_steps:
        # Not at each step: asking takes a hundred nanoseconds, and a quick simulator's step 30 µs.
        if abandoned is not None and not length & 3 and abandoned():
            raise EpisodeAbandoned
        if observe:
            rows.append(np.array(observation))
        observation, reward, terminated, truncated, info = step(act(observation))
        fitness += float(reward)
        length += 1
        if sums:
            add(total, observation, total)
        if length == 1:
            has_terms = "reward_terms" in info
        if has_terms:
            for name, value in info["reward_terms"].items():
                terms[name] = terms.get(name, 0.0) + float(value)
        if terminated or truncated:
            break
    if skipping:
        length = skipping.elapsed
    if not math.isfinite(fitness):
        raise EpisodeFailed(f"a reward is NaN or infinite: they add up to {fitness}")
    if not np.isfinite(total).all():
        raise EpisodeFailed(f"an observation is NaN or infinite within {length} steps")
    statistics = _statistics(rows, space) if observe else None
    return Episode(fitness, length, statistics, terms, distance_of(info))


def distance_of(info: Mapping[str, Any]) -> float | None:
    """How far forward a simulator has come, m: what OpenSim environments call ``distance_m`` and
    MuJoCo's ``x_position``; ``None`` where it does not say, or says no finite number.
    """
    distance = info.get("distance_m", info.get("x_position"))
    is_number = isinstance(distance, int | float | np.number)
    return float(distance) if is_number and math.isfinite(distance) else None


def _statistics(rows: list[Any], space: spaces.Space[Any]) -> ObservationStatistics:
    size, encode = observation_encoder(space)
    observations_to = np.zeros((len(rows), size))
    for row, observation_o in zip(rows, observations_to, strict=True):
        encode(row, observation_o)
    return ObservationStatistics.observed(observations_to)


def _check_shape(observation: Any, space: spaces.Space[Any]) -> None:
    if isinstance(space, spaces.Box) and np.shape(observation) != space.shape:
        raise EpisodeFailed(
            f"reset gave an observation of shape {np.shape(observation)}; "
            f"the environment declares {space.shape}"
        )


def _frame_skip_of(env: gym.Env[Any, Any]) -> FrameSkip | None:
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, FrameSkip):
            return layer
        layer = layer.env
    return None
