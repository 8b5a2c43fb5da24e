"""The held-out test: the same 100 episodes for whatever either side has learnt."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
from lander_race.settings import ENV
from numpy.typing import NDArray

from env import registry
from env.rollout import run_episode
from env.spec import EnvSpec
from fleet.parent import dying_with
from policy.actor import build_actor
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from search.arithmetic import use_one_thread

GOAL = 250.0
HELD_OUT = tuple(range(1_000_000, 1_000_100))
"""Seeds of the environment. No training has them: ours are 64 random bits, EvoTorch's unseeded."""
BEST_EPISODE = 350.0
"""More than any landing brings: 140 for the way down, some 60 for the speed lost, 20 for the legs
and 100 for coming to rest; fuel costs."""
_MAX_STEPS = 1000


class Learnt(NamedTuple):
    """A policy at one moment of a run."""

    policy: PolicySpec
    theta: NDArray[np.float32]
    statistics: ObservationStatistics | None


class Score(NamedTuple):
    """What the test said.

    Attributes:
        mean: reward, over so many episodes: all of them, unless the goal was out of reach sooner.
        episodes: how many.
        core_s: processor seconds it took.
    """

    mean: float
    episodes: int
    core_s: float

    @property
    def is_enough(self) -> bool:
        return self.episodes == len(HELD_OUT) and self.mean >= GOAL


def is_out_of_reach(rewards: Sequence[float]) -> bool:
    """Whether the best episodes that there can be would not lift the mean to the goal."""
    left = len(HELD_OUT) - len(rewards)
    return sum(rewards) + left * BEST_EPISODE < GOAL * len(HELD_OUT)


def score(learnt: Learnt) -> Score:
    """Run the test, until it is over or decided."""
    started_s = time.process_time()
    env = _env()
    actor = build_actor(learnt.policy, env.observation_space, env.action_space)
    actor.load(learnt.theta, learnt.statistics)
    rewards: list[float] = []
    for seed in HELD_OUT:
        episode = run_episode(env, actor, seed=seed, policy_seed=0, max_steps=_MAX_STEPS)
        rewards.append(episode.fitness)
        if is_out_of_reach(rewards):
            break
    return Score(float(np.mean(rewards)), len(rewards), time.process_time() - started_s)


class Examiners(NamedTuple):
    """Processes to run `score` in.

    Attributes:
        looks: one, which only gets what processor time nobody else wants.
        tests: one for each core.
    """

    looks: Executor
    tests: Executor


@contextmanager
def examiners(cores: int) -> Iterator[Examiners]:
    """Those processes, ended with the context or with this process."""
    context = get_context("spawn")
    looks = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(os.SCHED_IDLE,))
    tests = ProcessPoolExecutor(cores, context, initializer=_begin, initargs=(os.SCHED_OTHER,))
    with looks, tests:
        try:
            yield Examiners(looks, tests)
        finally:
            looks.shutdown(cancel_futures=True)
            tests.shutdown(cancel_futures=True)


def _begin(schedule: int) -> None:
    if tie := dying_with(os.getppid()):
        tie()
    use_one_thread()
    os.sched_setscheduler(0, schedule, os.sched_param(0))


@cache
def _env() -> Any:
    return registry.make(EnvSpec(ENV))
