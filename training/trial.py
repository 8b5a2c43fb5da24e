"""A policy put to the test: episodes on the final-test seeds, by the pools that training uses."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from env import registry
from env.gait_file import Gait
from errors import RunError
from fleet.pools import Site, open_pool
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    Genomes,
    GuardSpec,
    RolloutRecord,
    SeedRule,
)
from search.scores import Scores

_POLL_S = 0.5


@dataclass(frozen=True)
class Trial:
    """Episodes to run.

    Attributes:
        gait: the policy and its environment.
        num_episodes: at least 1.
        seed: of which the final-test seeds are derived.
        score_options: options of the environment's reset.
        guard: when an episode is given up.
    """

    gait: Gait
    num_episodes: int
    seed: int
    score_options: dict[str, Any]
    guard: GuardSpec

    def generation(self, run_uid: str, include: Path | None) -> Generation:
        """A generation of theta alone, on the final-test seeds."""
        theta_d = self.gait.theta_d
        return Generation(
            version=MESSAGE_VERSION,
            run_uid=run_uid,
            number=0,
            candidates=Genomes.of(theta_d, np.empty((0, len(theta_d)), dtype=np.float32)),
            num_episodes=1,
            num_validation=self.num_episodes,
            seeds=SeedRule(self.seed),
            statistics=self.gait.statistics,
            max_ep_length=registry.time_limit(self.gait.env, include),
            final=True,
            score_options=self.score_options,
        )


def run_trial(
    trial: Trial,
    site: Site,
    *,
    notice: Callable[[str], None],
    progress: Callable[[int], None] = lambda num_new: None,
) -> Scores:
    """Run the episodes; the same scores wherever they run.

    Args:
        trial: which.
        site: where.
        notice: told what people should know, in a line each.
        progress: told how many episodes have come to their end since it was last told.

    Raises:
        ConfigError: environment or policy cannot be built, or theta does not fit.
        RunError: every episode failed.
    """
    use_one_thread()
    _check_fit(trial.gait, site.include)
    run_uid = secrets.token_hex(16)
    experiment = Experiment(
        version=MESSAGE_VERSION,
        run_uid=run_uid,
        run_id="evaluation",
        code_version=code_version(),
        arithmetic=fingerprint(),
        env=trial.gait.env,
        policy=trial.gait.policy,
        noise=None,
        guard=trial.guard,
    )
    records: dict[int, RolloutRecord] = {}
    with open_pool(site, experiment, None, notice) as pool:
        pool.open(trial.generation(run_uid, site.include))
        while len(records) < trial.num_episodes:
            for batch in pool.results(_POLL_S):
                progress(len({r.rollout for r in batch.records} - set(records)))
                records |= {record.rollout: record for record in batch.records}
    scores = Scores.of(records[rollout] for rollout in sorted(records))
    if not scores.scored:
        raise RunError(f"all {trial.num_episodes} episodes failed: {scores.failed[0].error}")
    return scores


def by_controller(gait: Gait, controller: str, seed: int, include: Path | None) -> Gait:
    """``gait`` with other parameters: ``untrained``, those that a search would start from, or
    ``random``, actions drawn from the action space.
    """
    if controller == "trained":
        return gait
    policy = PolicySpec("random") if controller == "random" else gait.policy
    env = registry.make(gait.env, include=include)
    theta = initial_theta(policy, env.observation_space, env.action_space, seed, include)
    env.close()
    return Gait.of(gait.env, policy, theta, None, {})


def _check_fit(gait: Gait, include: Path | None) -> None:
    """Refuse here, in a line, what every worker would refuse."""
    env = registry.make(gait.env, include=include)
    try:
        actor = build_actor(gait.policy, env.observation_space, env.action_space, include=include)
        actor.load(gait.theta_d, gait.statistics)
    finally:
        env.close()
