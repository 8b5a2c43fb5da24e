"""One process's environment and policy: from a rollout's number to its record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from env import registry
from env.rollout import Episode, EpisodeAbandoned, EpisodeFailed, run_episode
from policy.actor import Actor, build_actor
from search.candidates import write_candidate
from search.messages import MAX_ERROR_CHARS, Experiment, Generation, RolloutRecord
from search.noise import NoiseTable
from search.seeds import is_observed, rollout_seeds


class Evaluator:
    """Runs rollouts in an environment that it keeps.

    Args:
        experiment: which environment and policy.
        noise: the table that perturbations point into.
        include: folder of the user's own modules, from this process's own command line.
        notice: where a line for people goes.

    Raises:
        ConfigError: the environment or the policy cannot be built here.
    """

    def __init__(
        self,
        experiment: Experiment,
        noise: NoiseTable | None,
        include: Path | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._spec = experiment.env
        self._include = include
        self._noise = noise
        self._env = self._make_env()
        self._actor: Actor = build_actor(
            experiment.policy,
            self._env.observation_space,
            self._env.action_space,
            include=include,
            notice=notice,
        )
        self._theta = np.zeros(self._actor.num_parameters, dtype=np.float32)
        self._loaded: tuple[Generation, int] | None = None

    def evaluate(
        self,
        generation: Generation,
        rollout: int,
        attempt: int,
        abandoned: Callable[[], bool] | None = None,
    ) -> RolloutRecord:
        """Run one rollout. Whatever the environment raises becomes a ``failed`` record.

        Args:
            generation, rollout, attempt: which one.
            abandoned: asked every few steps whether nobody wants it any more.

        Raises:
            EpisodeAbandoned: nobody does. The environment is ready for the next rollout.
            MessageError: the generation's vectors do not fit this policy or noise table.
        """
        self._load(generation, min(rollout // generation.num_episodes, generation.num_candidates))
        try:
            episode = self._run(generation, rollout, abandoned)
        except EpisodeAbandoned:
            raise
        except Exception as error:
            self._replace_env()
            return RolloutRecord(rollout, attempt, "failed", error=one_line(error))
        return RolloutRecord(
            rollout,
            attempt,
            "ok",
            fitness=episode.fitness,
            length=episode.length,
            terms=episode.terms,
            distance_m=episode.distance_m,
            statistics=episode.statistics,
        )

    def close(self) -> None:
        """Let go of the environment, whatever it makes of that."""
        with suppress(Exception):
            self._env.close()

    def _load(self, generation: Generation, candidate: int) -> None:
        if self._loaded is not None:
            loaded_generation, loaded_candidate = self._loaded
            if loaded_generation is generation and loaded_candidate == candidate:
                return
        self._loaded = None
        write_candidate(generation.candidates, candidate, self._noise, self._theta)
        self._actor.load(self._theta, generation.statistics)
        self._loaded = generation, candidate

    def _run(
        self, generation: Generation, rollout: int, abandoned: Callable[[], bool] | None
    ) -> Episode:
        seeds = rollout_seeds(generation, rollout)
        is_score = rollout >= generation.num_training
        return run_episode(
            self._env,
            self._actor,
            seed=seeds.env,
            policy_seed=seeds.policy,
            max_steps=generation.max_ep_length,
            frame_skip=self._spec.frame_skip,
            observe=is_observed(generation, rollout),
            reset_options=generation.score_options if is_score else None,
            abandoned=abandoned,
        )

    def _make_env(self) -> gymnasium.Env[Any, Any]:
        return registry.make(self._spec, include=self._include)

    def _replace_env(self) -> None:
        # An environment that has raised may be half-way through a step; a new one owes nothing to
        # what ran before, which is what makes rollouts equal wherever they run.
        self.close()
        self._env = self._make_env()


def one_line(error: BaseException) -> str:
    """An exception as one line that fits a record."""
    name = "" if isinstance(error, EpisodeFailed) else f"{type(error).__name__}: "
    text = " ".join(f"{name}{error}".split())
    return text[:MAX_ERROR_CHARS]
