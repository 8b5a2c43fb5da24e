"""OpenSimWalk2D-v0 and OpenSimWalk3D-v0 beside osim-rl 3.0.11's own environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gymnasium.spaces import Box

pytest.importorskip("opensim")
pytest.importorskip("osim")

from rivals import original_osim_rl

from env.musculoskeletal.walk import START_POSE, Walk
from env.musculoskeletal.walk2d import Walk2D
from env.musculoskeletal.walk3d import Walk3D
from policy.reflex import ReflexActor

Controller = Callable[[np.ndarray], np.ndarray]

# osim-rl's interpolation and ours round differently, by the last bits of numbers near 1.
FIELD_CLOSE = 1e-15


def random_actions(mode: str) -> Controller:
    rng = np.random.default_rng(3)
    return lambda observation: rng.uniform(-0.1, 0.6, 22)


def reflexes(mode: str) -> Controller:
    actor = ReflexActor(Box(-1, 1, (339,)), Box(0, 1, (22,)), {"mode": mode})
    actor.load(np.zeros(actor.num_parameters, np.float32), None)
    actor.reset(np.random.default_rng(0))
    return actor.act


def beside_each_other(mode: str, difficulty: int) -> tuple[object, Walk]:
    ours: Walk = {"2D": Walk2D, "3D": Walk3D}[mode](difficulty=difficulty)
    return original_osim_rl.walk(mode, difficulty), ours


def begin(original, ours: Walk, monkeypatch: pytest.MonkeyPatch, seed: int = 5) -> np.ndarray:
    """Both at the start, the original drawing from a generator of the seed that ours is given."""
    monkeypatch.setattr(np.random, "uniform", np.random.default_rng(seed).uniform)
    original.reset(init_pose=np.array(START_POSE))
    observation, _ = ours.reset(seed=seed)
    assert_same(observation, original.get_observation())
    return observation


def assert_same(observation: np.ndarray, expected: list[float]) -> None:
    assert observation[:242] == pytest.approx(expected[:242], rel=0, abs=FIELD_CLOSE)
    assert (observation[242:] == expected[242:]).all()


@pytest.mark.parametrize(
    ("mode", "difficulty", "controller", "least", "most"),
    [
        ("2D", 0, random_actions, 50, 50),
        ("2D", 1, reflexes, 60, 60),
        ("2D", 2, random_actions, 25, 25),
        ("2D", 3, random_actions, 25, 25),
        ("3D", 0, random_actions, 25, 25),
        ("3D", 1, random_actions, 20, 20),
        ("3D", 2, random_actions, 20, 20),
        ("3D", 3, reflexes, 60, 200),
    ],
)
def test_observations_and_rewards_are_the_originals(
    mode: str,
    difficulty: int,
    controller: Callable[[str], Controller],
    least: int,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, ours = beside_each_other(mode, difficulty)
    act = controller(mode)
    observation = begin(original, ours, monkeypatch)
    done, length = False, 0
    while not done and length < most:
        action = act(observation)
        _, expected_reward, done, _ = original.step(action)
        observation, reward, terminated, truncated, _ = ours.step(action)
        assert_same(observation, original.get_observation())
        assert reward == pytest.approx(expected_reward, abs=1e-12)
        assert done == (terminated or truncated)
        length += 1
    assert length >= least


def test_targets_reached_are_paid_and_replaced_as_in_the_original(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, ours = beside_each_other("2D", 3)
    begin(original, ours, monkeypatch)
    rewards, targets = [], []
    for _ in range(12):
        # Neither walks that far in a test: the next target is where the walker is, and the time
        # that it had to stay there is over.
        pose = (ours.distance_m, -ours._walker.position[2])
        original.vtgt.p_sink, ours._field.target = np.array(pose), np.array(pose)
        original.vtgt.t0_target = ours._field._stay_s = 0.0
        action = np.full(22, 0.2)
        _, expected, _, _ = original.step(action)
        observation, reward, *_, info = ours.step(action)
        assert_same(observation, original.get_observation())
        assert reward == pytest.approx(expected, abs=1e-12)
        rewards.append(info["reward_terms"]["target"])
        targets.append(tuple(ours._field.target))
    assert rewards[:3] == [0.0, 500.0, 500.0]
    assert rewards[3:] == [0.0] * 9, "there are two targets"
    assert np.linalg.norm(targets[0]) > 4


@pytest.mark.parametrize("difficulty", [0, 3])
def test_the_end_at_the_time_limit_is_the_originals_but_for_its_error(
    difficulty: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, _ = beside_each_other("2D", difficulty)
    ours = Walk2D(difficulty=difficulty, time_limit_steps=4)
    original.spec.timestep_limit = 4
    begin(original, ours, monkeypatch)
    original.footstep["n"] = ours._reward.num_footsteps = 6
    for _ in range(4):
        action = np.full(22, 0.2)
        _, expected, done, _ = original.step(action)
        _, reward, _, truncated, info = ours.step(action)
        assert (reward, truncated) == (pytest.approx(expected, abs=1e-12), done)
    assert truncated
    last = {0: {"footstep": 0, "bonus": 10}, 3: {"footstep": pytest.approx(0.4), "target": 0}}
    assert info["reward_terms"] | last[difficulty] == info["reward_terms"]
