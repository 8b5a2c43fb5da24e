"""The reflex policy, and what it makes of OpenSimWalk2D-v0."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from gymnasium.spaces import Box

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env import registry
from env.rollout import run_episode
from env.spec import EnvSpec
from errors import ConfigError
from policy.actor import build_actor
from policy.reflex import ReflexActor
from policy.spec import PolicySpec

OBSERVATIONS = Box(-np.inf, np.inf, (339,), np.float64)
ACTIONS = Box(0, 1, (22,), np.float32)

LEG_MUSCLES = ("HAB", "HAD", "HFL", "GLU", "HAM", "RF", "VAS", "BFSH", "GAS", "SOL", "TA")


def actor(**options: str) -> ReflexActor:
    made = ReflexActor(OBSERVATIONS, ACTIONS, options)
    made.load(np.zeros(made.num_parameters, np.float32), None)
    made.reset(np.random.default_rng(0))
    return made


def as_dictionary(observation: np.ndarray) -> dict[str, object]:
    """osim-rl's dictionary, rebuilt in the order in which its own `get_observation` flattens it."""
    values = iter(observation.tolist()[242:])
    pelvis = {name: next(values) for name in ("height", "pitch", "roll")}
    result: dict[str, object] = {"pelvis": {**pelvis, "vel": [next(values) for _ in range(6)]}}
    for leg in ("r_leg", "l_leg"):
        joints = ("hip_abd", "hip", "knee", "ankle")
        result[leg] = {
            "ground_reaction_forces": [next(values) for _ in range(3)],
            "joint": {name: next(values) for name in joints},
            "d_joint": {name: next(values) for name in joints},
            **{name: {key: next(values) for key in "flv"} for name in LEG_MUSCLES},
        }
    assert next(values, None) is None
    return result


@pytest.mark.parametrize(("mode", "size"), [("2D", 37), ("3D", 46)])
def test_the_flat_observation_gives_the_same_bits_as_the_dictionary(mode: str, size: int) -> None:
    from osim.control.osim_loco_reflex_song2019 import OsimReflexCtrl

    rng = np.random.default_rng(11)
    theta = rng.normal(0, 0.3, size).astype(np.float32)
    ours = actor(mode=mode)
    assert ours.num_parameters == size
    ours.load(theta, None)
    theirs = OsimReflexCtrl(mode=sys.intern(mode))
    theirs.set_control_params(1.0 + theta.astype(np.float64))
    distinct = set()
    for _ in range(300):
        observation = rng.normal(0, 0.7, 339)
        action = ours.act(observation)
        assert (action == theirs.update(as_dictionary(observation))).all()
        distinct.add(action.tobytes())
    assert len(distinct) == 300


def test_theta_zero_is_all_ones_and_falls_where_it_always_fell() -> None:
    env = registry.make(EnvSpec("OpenSimWalk2D-v0"))
    spec = PolicySpec(network="reflex")
    made = build_actor(spec, env.observation_space, env.action_space)
    made.load(np.zeros(37, np.float32), None)
    episode = run_episode(env, made, seed=0, policy_seed=0, max_steps=1000)
    assert episode.fitness == pytest.approx(18.977, abs=0.005)
    assert episode.length == 121
    assert env.unwrapped.snapshot().distance_m == pytest.approx(1.758, abs=0.001)
    again = run_episode(env, made, seed=1, policy_seed=2, max_steps=1000)
    assert (again.fitness, again.length) == (episode.fitness, 121)


def test_a_reset_actor_remembers_nothing() -> None:
    made = actor()
    observations = np.random.default_rng(2).normal(0, 0.7, (30, 339))
    first = [made.act(row).tobytes() for row in observations]
    made.reset(np.random.default_rng(9))
    assert [made.act(row).tobytes() for row in observations] == first


def test_theta_is_copied_and_checked() -> None:
    made = actor()
    theta = np.zeros(37, np.float32)
    observation = np.random.default_rng(2).normal(0, 0.7, 339)
    made.load(theta, None)
    made.reset(np.random.default_rng(0))
    expected = made.act(observation)
    theta += 1
    made.reset(np.random.default_rng(0))
    assert (made.act(observation) == expected).all()
    with pytest.raises(ConfigError, match="37 parameters"):
        made.load(np.zeros(36, np.float32), None)


def test_it_refuses_other_spaces_and_options_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"339 observations and 22 actions.*\(8,\)"):
        ReflexActor(Box(-1, 1, (8,)), ACTIONS, {})
    for options in ({"mode": "4D"}, {"speed": 1.0}):
        with pytest.raises(ConfigError, match="known: mode=2D"):
            ReflexActor(OBSERVATIONS, ACTIONS, options)
