"""What fleet tests share: a run small enough to wait for, and an environment that is trouble.

Nothing here is a mock: servers serve, workers are processes, and they die of real signals.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from env.spec import EnvSpec
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from search.arithmetic import fingerprint
from search.code_version import code_version
from search.evaluator import Evaluator
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    GuardSpec,
    NoiseSpec,
    Perturbations,
    RolloutRecord,
    SeedRule,
    digest,
    encode,
)
from search.noise import NoiseTable
from search.protocol import Pool
from search.seeds import rollout_seeds

DEADLINE_S = 30.0
POLICY = PolicySpec("linear", (), normalize_observations=True)
NUM_PARAMETERS = 3

INCLUDE = Path(__file__).resolve().parent / "include"
"""A user's folder, with the module ``trouble`` in it."""


def experiment_of(
    noise: NoiseSpec,
    guard: GuardSpec | None = None,
    env: str = "trouble:Trouble-v0",
    **options: Any,
) -> Experiment:
    """A run of its own in an environment with these options."""
    return Experiment(
        version=MESSAGE_VERSION,
        run_uid=secrets.token_hex(16),
        run_id="1",
        code_version=code_version(),
        arithmetic=fingerprint(),
        env=EnvSpec(env, options=options),
        policy=POLICY,
        noise=noise,
        guard=guard or GuardSpec(),
    )


def generation_of(
    run_uid: str = "0" * 32,
    number: int = 0,
    pairs: int = 4,
    episodes: int = 2,
    validation: int = 3,
    run_seed: int = 7,
) -> Generation:
    """Mirrored pairs with observation moments both ways."""
    rows = np.random.default_rng(number).normal(size=(9, 2))
    return Generation(
        version=MESSAGE_VERSION,
        run_uid=run_uid,
        number=number,
        candidates=Perturbations.of(
            np.full(NUM_PARAMETERS, 0.1, np.float32), 0.5, np.arange(pairs) * 11 + number
        ),
        num_episodes=episodes,
        num_validation=validation,
        seeds=SeedRule(run_seed),
        statistics=ObservationStatistics.observed(rows),
        observed_fraction=0.5,
        max_ep_length=100,
    )


def of_run(generation: Generation, experiment: Experiment) -> Generation:
    return msgspec.structs.replace(generation, run_uid=experiment.run_uid)


def seeds_of(generation: Generation, rollouts: Iterable[int]) -> list[int]:
    """What the environment is reset with in these rollouts."""
    return sorted({rollout_seeds(generation, rollout).env for rollout in rollouts})


def rollouts_with(generation: Generation, seeds: Iterable[int]) -> set[int]:
    """Rollouts that are reset with one of ``seeds``: both signs of a pair share theirs."""
    wanted = set(seeds)
    every = range(generation.num_rollouts)
    return {rollout for rollout in every if rollout_seeds(generation, rollout).env in wanted}


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What ``condition`` gives once it is true; fails loudly when that takes too long."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {DEADLINE_S:.0f} s in vain for {what}")


def own_children() -> set[psutil.Process]:
    """All that this process has started, but for a Ray that serves other tests too."""
    found: set[psutil.Process] = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if "fleet.actors.local_ray" not in child.cmdline():
                found |= {child, *child.children(recursive=True)}
    return found


def collect(
    pool: Pool,
    *generations: Generation,
    known: Iterable[int] = (),
    meanwhile: Callable[[dict[int, RolloutRecord]], None] = lambda answers: None,
    patience_s: float = 0.1,
    within_s: float = DEADLINE_S,
) -> list[dict[int, RolloutRecord]]:
    """The answers to each of these open generations by rollout; two to one are an error."""
    names = {digest(encode(generation)): i for i, generation in enumerate(generations)}
    answers: list[dict[int, RolloutRecord]] = [{} for _ in generations]
    missing = sum(g.num_rollouts - len(set(known)) for g in generations)
    deadline_s = time.monotonic() + within_s
    while missing:
        assert time.monotonic() < deadline_s, f"{missing} answers missing; {pool.status()}"
        for batch in pool.results(patience_s):
            there = answers[names[batch.digest]]
            for record in batch.records:
                assert record.status != "lost"
                assert record.rollout not in there or there[record.rollout].status == "failed"
                missing -= record.rollout not in there
                there[record.rollout] = record
        meanwhile(answers[0])
    return answers


def said(record: RolloutRecord) -> tuple[Any, ...]:
    """What an answer says, but for who tried how often."""
    return record.status, record.fitness, record.length, record.statistics, record.terms


def expected(
    experiment: Experiment, generation: Generation, noise: NoiseTable
) -> dict[int, tuple[Any, ...]]:
    """What each rollout comes to where nothing gets into trouble."""
    calm = msgspec.structs.replace(experiment, env=EnvSpec(experiment.env.name))
    evaluator = Evaluator(calm, noise, INCLUDE)
    try:
        every = range(generation.num_rollouts)
        return {rollout: said(evaluator.evaluate(generation, rollout, 0)) for rollout in every}
    finally:
        evaluator.close()
