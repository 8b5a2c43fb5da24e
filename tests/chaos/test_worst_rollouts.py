"""A rollout that hangs, one that crashes, one that takes its machine down, one that always raises:
through a relay, on a machine that is started again each time. The others do not notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from chaos_machine import INCLUDE, Machine, kept
from conditions import IS_FULL
from heads_redis import HeadsRedis
from own_processes import Mark
from real_fleet import collect, experiment_of, generation_of, of_run, rollouts_with, said, seeds_of

from env.spec import EnvSpec
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from search.evaluator import Evaluator
from search.messages import Experiment, Generation, GuardSpec, RolloutRecord
from search.noise import NoiseTable, open_table

FATES = {0: "hang", 2: "segfault", 4: "fail", 6: "take_all_down"}
"""What befalls both signs of the pair whose first rollout this is."""

SAID = {
    "hang": "took longer than rollout_timeout_s=2",
    "segfault": "the simulator's process was ended by SIGSEGV",
    "fail": "the episode raised ValueError: the knee is inside out",
}
PATIENT = GuardSpec(rollout_timeout_s=2.0)
MAX_LOSSES = 3


def quiet_answers(
    experiment: Experiment, generation: Generation, noise: NoiseTable
) -> dict[int, Any]:
    """What each rollout comes to where nothing befalls it."""
    calm = EnvSpec(experiment.env.name, options={"pace": 0.0})
    evaluator = Evaluator(msgspec.structs.replace(experiment, env=calm), noise, INCLUDE)
    try:
        every = range(generation.num_rollouts)
        return {r: said(evaluator.evaluate(generation, r, 0)) for r in every}
    finally:
        evaluator.close()


def answers_in_spite_of_the_worst(
    folder: Path, mark: Mark, *, is_relayed: bool
) -> dict[str, list[RolloutRecord]]:
    """The final answers of those that met their fate; all others are as they should be."""
    calm = generation_of(pairs=8, episodes=1, validation=2)
    fates = {fate: seeds_of(calm, [first]) for first, fate in FATES.items()}
    with open_table(1, 10_000, folder) as noise:
        experiment = experiment_of(
            noise.spec, PATIENT, "worst_world:WorstWorld-v0", pace=0.3, **fates
        )
        generation = of_run(calm, experiment)
        redis = HeadsRedis()
        machine = Machine(redis.url, folder / "log", mark, is_relayed=is_relayed, noise_dir=folder)
        try:
            with kept(machine), connect(redis.url) as client:
                pool = RedisPool(client, experiment, max_losses=MAX_LOSSES)
                pool.open(generation)
                (answers,) = collect(pool, generation, within_s=100.0)
                pool.shutdown()
        finally:
            redis.stop()
        assert machine.starts > MAX_LOSSES
        wanted = quiet_answers(experiment, generation, noise)
    met = {fate: rollouts_with(calm, seeds) for fate, seeds in fates.items()}
    spared = set(wanted).difference(*met.values())
    assert {r: said(answers[r]) for r in spared} == {r: wanted[r] for r in spared}
    return {fate: [answers[r] for r in sorted(rollouts)] for fate, rollouts in met.items()}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_relayed", [True, False] if IS_FULL else [True])
def test_the_worst_rollouts_fail_by_name_and_cost_no_other_its_answer(
    tmp_path: Path, is_relayed: bool
) -> None:
    mark = Mark()
    try:
        answers = answers_in_spite_of_the_worst(tmp_path, mark, is_relayed=is_relayed)
        assert not mark.left_running()
    finally:
        mark.end_all()
    for fate, records in answers.items():
        for record in records:
            assert record.status == "failed"
            assert record.host_failure == (fate in ("hang", "take_all_down"))
            if fate in SAID:
                assert (record.error, record.attempt) == (SAID[fate], 1)
            else:
                assert record.error.startswith(f"lost {MAX_LOSSES} times")
