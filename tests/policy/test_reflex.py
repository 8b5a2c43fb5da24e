"""The reflex policy, and what it makes of OpenSimWalk2D-v0."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env import registry
from env.musculoskeletal.model import import_opensim, osim_rl_folder
from env.rollout import run_episode
from env.spec import EnvSpec
from errors import ConfigError
from policy.actor import build_actor
from policy.mirror import Mirror
from policy.reflex import LEG_MUSCLES, ReflexActor
from policy.spec import PolicySpec

OBSERVATIONS = Box(-np.inf, np.inf, (339,), np.float64)
ACTIONS = Box(0, 1, (22,), np.float32)


def actor(actions: Box = ACTIONS, **options: str) -> ReflexActor:
    made = ReflexActor(OBSERVATIONS, actions, options)
    made.load(np.zeros(made.num_parameters, np.float32), None)
    made.reset(np.random.default_rng(0))
    return made


def original_observer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """osim-rl's walk-around environment, for what it makes of a state: without a simulation, which
    seldom leans to all sides.
    """
    monkeypatch.setitem(sys.modules, "gym", gymnasium)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from osim.env.osim import L2M2019Env

    observer = L2M2019Env.__new__(L2M2019Env)
    for name in ("Fmax", "lopt"):
        sizes = {muscle: 0.5 + 0.1 * i for i, muscle in enumerate(LEG_MUSCLES)}
        setattr(observer, name, {"r_leg": sizes, "l_leg": sizes})
    return observer


MODEL_MUSCLES = (
    *("abd", "add", "iliopsoas", "glut_max", "hamstrings", "rect_fem"),
    *("vasti", "bifemsh", "gastroc", "soleus", "tib_ant"),
)


def random_state(rng: np.random.Generator) -> dict[str, Any]:
    """What osim-rl reads from OpenSim: all axes turn, and the feet carry from 0 to 1.5 weights."""
    weight_n = 75.16460000000001 * 9.80665
    state: dict[str, Any] = {"v_tgt_field": rng.normal(size=(2, 11, 11))}
    for part in ("body_pos", "body_vel"):
        state[part] = {"pelvis": rng.normal(0, 0.7, 3).tolist()}
    for part in ("joint_pos", "joint_vel"):
        state[part] = {"ground_pelvis": rng.normal(0, 0.7, 6).tolist()}
        for side in "rl":
            for joint, axes in {"hip": 3, "knee": 1, "ankle": 1}.items():
                state[part][f"{joint}_{side}"] = rng.normal(0, 0.7, axes).tolist()
    state["forces"] = {f"foot_{side}": (rng.normal(0, 50, 24)).tolist() for side in "rl"}
    for force in state["forces"].values():
        force[1] = -weight_n * max(0.0, rng.uniform(-1.0, 1.5))
    state["muscles"] = {
        f"{muscle}_{side}": {
            f"fiber_{what}": float(rng.uniform()) for what in ("force", "length", "velocity")
        }
        for muscle in MODEL_MUSCLES
        for side in "rl"
    }
    return state


@pytest.mark.parametrize(("mode", "size"), [("2D", 37), ("3D", 46)])
def test_the_flat_observation_gives_the_same_bits_as_the_dictionary(
    mode: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osim.control.osim_loco_reflex_song2019 import OsimReflexCtrl

    observer = original_observer(monkeypatch)
    rng = np.random.default_rng(11)
    theta = rng.normal(0, 0.3, size).astype(np.float32)
    ours = actor(mode=mode)
    assert ours.num_parameters == size
    ours.load(theta, None)
    theirs = OsimReflexCtrl(mode=sys.intern(mode))
    theirs.set_control_params(1.0 + theta.astype(np.float64))
    actions = []
    for _ in range(300):
        state = random_state(rng)
        observer.get_state_desc = lambda state=state: state
        actions.append(ours.act(np.array(observer.get_observation())))
        assert (actions[-1] == theirs.update(observer.get_observation_dict())).all()
    moved = np.ptp(actions, axis=0) > 0.1
    sideways = [LEG_MUSCLES.index(name) + leg for leg in (0, 11) for name in ("HAB", "HAD")]
    assert moved[sideways].all() == (mode == "3D")
    assert np.delete(moved, sideways).all()


def test_the_2017_model_gets_the_same_excitations_of_the_muscles_it_has() -> None:
    whole, nine = actor(), actor(Box(0, 1, (18,), np.float32))
    theta = np.random.default_rng(3).normal(0, 0.3, 37).astype(np.float32)
    whole.load(theta, None)
    nine.load(theta, None)
    names = [f"{muscle}_{side}" for side in "rl" for muscle in MODEL_MUSCLES]
    model = import_opensim().Model(str(osim_rl_folder() / "models" / "gait9dof18musc.osim"))
    muscles = [muscle.getName() for muscle in model.getMuscles()]
    assert len(muscles) == 18
    for observation in np.random.default_rng(2).normal(0, 0.7, (50, 339)):
        excitations = dict(zip(names, whole.act(observation), strict=True))
        assert nine.act(observation).tolist() == [excitations[name] for name in muscles]


def walkers_mirror() -> Mirror:
    """What the reflexes read of a walker's plane of symmetry."""
    index, sign = np.arange(339), np.ones(339)
    index[251:295], index[295:339] = np.arange(295, 339), np.arange(251, 295)
    sign[[244, 246, 249, 250]] = -1  # roll, leftward velocity, velocities of roll and yaw
    return Mirror(index, sign, range(11), range(11, 22))


@pytest.mark.parametrize("mode", ["2D", "3D"])
def test_a_body_in_the_mirror_gets_the_same_reflexes_on_the_other_side(mode: str) -> None:
    mirror, rng = walkers_mirror(), np.random.default_rng(6)
    plain, mirrored = actor(mode=mode), actor(mode=mode)
    theta = rng.normal(0, 0.3, plain.num_parameters).astype(np.float32)
    unlike_sides = 0
    for made in (plain, mirrored):
        made.load(theta, None)
    for step in range(200):
        observation = rng.normal(0, 0.7, 339)
        if step == 0:  # on both feet: the first stance, on the right one, is forgotten
            observation[[253, 297]] = 0.5
        action = plain.act(observation)
        answer = mirrored.act(mirror.observation(observation))
        np.testing.assert_array_equal(answer, mirror.action(action))
        unlike_sides += (action != answer).any()
    assert unlike_sides > 190


def test_theta_zero_is_all_ones_and_falls_where_it_always_fell() -> None:
    env = registry.make(EnvSpec("OpenSimWalk2D-v0"))
    spec = PolicySpec(network="reflex")
    made = build_actor(spec, env.observation_space, env.action_space)
    made.load(np.zeros(37, np.float32), None)
    episode = run_episode(env, made, seed=0, policy_seed=0, max_steps=1000)
    assert episode.fitness == pytest.approx(18.977, abs=0.005)
    assert episode.length == 121
    assert env.unwrapped.distance_m == pytest.approx(1.758, abs=0.001)
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
    for observations, actions in [
        (Box(-1, 1, (8,)), ACTIONS),
        (OBSERVATIONS, Box(0, 1, (19,))),
        (OBSERVATIONS, Discrete(22)),
    ]:
        said = r"OpenSimRun-v0 with env_options observation=walk; this environment has \("
        with pytest.raises(ConfigError, match=said) as refused:
            ReflexActor(observations, actions, {})
        assert "\n" not in str(refused.value)
    for options in ({"mode": "4D"}, {"speed": 1.0}):
        with pytest.raises(ConfigError, match="known: mode=2D"):
            ReflexActor(OBSERVATIONS, ACTIONS, options)
    with pytest.raises(ConfigError, match="18 muscles has not: use mode=2D"):
        ReflexActor(OBSERVATIONS, Box(0, 1, (18,)), {"mode": "3D"})
