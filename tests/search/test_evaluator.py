"""One rollout, one record: the same wherever it runs, whatever ran before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from env.spec import EnvSpec
from errors import MessageError
from policy.spec import PolicySpec
from search.evaluator import Evaluator
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    GuardSpec,
    Perturbations,
    SeedRule,
)
from search.noise import NoiseTable, open_table

FRAIL = """
import gymnasium
import numpy as np

class Frail(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    made = 0

    def __init__(self):
        Frail.made += 1
        self.is_broken = False

    def close(self):
        if self.is_broken:
            raise BrokenPipeError("the simulator has gone")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2), {}

    def step(self, action):
        if self.np_random.random() < 0.5:
            self.is_broken = True
            raise ValueError("the knee is inside out")
        return np.zeros(2), float(action[0]), True, False, {}

gymnasium.register("Frail-v0", Frail)
"""


@pytest.fixture
def noise(tmp_path: Path) -> Iterator[NoiseTable]:
    with open_table(3, 10_000, tmp_path) as table:
        yield table


def experiment(env: str) -> Experiment:
    return Experiment(
        MESSAGE_VERSION,
        "aa" * 16,
        "1",
        "code",
        "arithmetic",
        EnvSpec(env),
        PolicySpec(network="linear"),
        None,
        GuardSpec(),
    )


def generation(size: int, max_index: int = 1000) -> Generation:
    indices = np.linspace(0, max_index, 8).astype(np.int64)
    pairs = Perturbations.of(np.zeros(size, dtype=np.float32), 0.5, indices)
    return Generation(MESSAGE_VERSION, "aa" * 16, 2, pairs, 2, 3, SeedRule(5), max_ep_length=50)


def test_order_and_history_change_no_record(noise: NoiseTable) -> None:
    asked = generation(18)
    evaluator = Evaluator(experiment("LunarLanderContinuous-v3"), noise)
    forward = {r: evaluator.evaluate(asked, r, 0) for r in range(asked.num_rollouts)}
    evaluator.close()
    other = Evaluator(experiment("LunarLanderContinuous-v3"), noise)
    for rollout in reversed(range(asked.num_rollouts)):
        assert other.evaluate(asked, rollout, 0) == forward[rollout]
    other.close()
    assert all(record.status == "ok" for record in forward.values())
    assert len({record.fitness for record in forward.values()}) == asked.num_rollouts


def test_an_environment_that_raises_is_a_failed_record_and_a_new_environment(
    tmp_path: Path, noise: NoiseTable
) -> None:
    (tmp_path / "frail_envs.py").write_text(FRAIL)
    evaluator = Evaluator(experiment("frail_envs:Frail-v0"), noise, include=tmp_path)
    asked = generation(3)
    records = [evaluator.evaluate(asked, r, 1) for r in range(asked.num_rollouts)]
    failed = [record for record in records if record.status == "failed"]
    assert 0 < len(failed) < len(records)
    assert all(record.error.endswith("ValueError: the knee is inside out") for record in failed)
    assert all(record.attempt == 1 for record in records)
    assert [evaluator.evaluate(asked, r, 1) for r in range(asked.num_rollouts)] == records
    evaluator.close()


def test_a_generation_that_does_not_fit_is_refused(noise: NoiseTable) -> None:
    evaluator = Evaluator(experiment("LunarLanderContinuous-v3"), noise)
    with pytest.raises(MessageError):
        evaluator.evaluate(generation(5), 0, 0)
    with pytest.raises(MessageError):
        evaluator.evaluate(generation(18, max_index=10_000), 15 * 2, 0)
    evaluator.close()


SCORED = """
import gymnasium
import numpy as np

class Scored(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.bonus = (options or {}).get("bonus", 0.0)
        return np.zeros(2), {}

    def step(self, action):
        return np.zeros(2), self.bonus, True, False, {"distance_m": 1.5}

gymnasium.register("Scored-v0", Scored)
"""


def test_score_options_reach_validation_and_final_episodes_and_no_training(
    tmp_path: Path, noise: NoiseTable
) -> None:
    (tmp_path / "scored_envs.py").write_text(SCORED)
    evaluator = Evaluator(experiment("scored_envs:Scored-v0"), noise, include=tmp_path)
    asked = msgspec.structs.replace(generation(3), score_options={"bonus": 7.0})
    records = [evaluator.evaluate(asked, r, 0) for r in range(asked.num_rollouts)]
    assert {record.fitness for record in records[: asked.num_training]} == {0.0}
    assert {record.fitness for record in records[asked.num_training :]} == {7.0}
    assert {record.distance_m for record in records} == {1.5}
    evaluator.close()
