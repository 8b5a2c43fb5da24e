"""OpenSimWalk2D-v0 by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from env import registry
from env.musculoskeletal import kernels
from env.musculoskeletal.integration import INTEGRATORS
from env.musculoskeletal.reward import FootstepReward
from env.musculoskeletal.walk import START_POSE
from env.musculoskeletal.walk2d import Walk2D
from env.spec import EnvSpec
from errors import ConfigError

pytest.importorskip("opensim")

NUM_STEPS = 12

EPISODE_IN_A_NEW_PROCESS = """
import numpy as np
from env.musculoskeletal.walk2d import Walk2D
env = Walk2D()
rows = [env.reset()[0]]
for action in np.random.default_rng(7).uniform(0, 0.4, (12, 22)):
    observation, reward, *_ = env.step(action)
    rows.append(np.append(observation, reward)[1:])
print(b"".join(row.tobytes() for row in rows).hex())
"""


@pytest.fixture(scope="module")
def env() -> Walk2D:
    return Walk2D()


def actions(seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 0.4, (NUM_STEPS, 22))


def episode(env: Walk2D) -> bytes:
    rows = [env.reset()[0]]
    for action in actions():
        observation, reward, *_ = env.step(action)
        rows.append(np.append(observation, reward)[1:])
    return b"".join(row.tobytes() for row in rows)


def test_a_reset_env_equals_a_fresh_one_to_the_bit_also_mid_way_and_in_a_new_process(
    env: Walk2D, tmp_path: Path
) -> None:
    env.reset()
    for action in actions(seed=1):
        env.step(np.ones(22) * action)
    kept = episode(env)
    assert episode(env) == kept
    assert episode(Walk2D()) == kept
    new = subprocess.run(
        [sys.executable, "-c", EPISODE_IN_A_NEW_PROCESS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert bytes.fromhex(new.stdout) == kept
    assert list(tmp_path.iterdir()) == [], "OpenSim left files in the working directory"
    assert new.stderr == ""


def test_which_code_opensims_libraries_are_bound_to_changes_no_bit(
    env: Walk2D, tmp_path: Path
) -> None:
    """As osim-rl imports them, they run the extension modules' copies, which are slower."""
    as_osim_rl = subprocess.run(
        [sys.executable, "-c", "import opensim\n" + EPISODE_IN_A_NEW_PROCESS],
        cwd=tmp_path,
        env={**os.environ, kernels.VARIABLE: kernels.opensim_kernels()},
        capture_output=True,
        text=True,
        check=True,
    )
    bound = subprocess.run(
        [sys.executable, "-c", EPISODE_IN_A_NEW_PROCESS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert bound.stdout == as_osim_rl.stdout


def test_two_envs_in_one_process_do_not_disturb_each_other(env: Walk2D) -> None:
    alone = episode(env)
    other = Walk2D()
    rows = [env.reset()[0]]
    other.reset()
    for action in actions():
        observation, reward, *_ = env.step(action)
        other.step(1 - action)
        rows.append(np.append(observation, reward)[1:])
    assert b"".join(row.tobytes() for row in rows) == alone


def test_it_is_a_gymnasium_env_by_its_id() -> None:
    registry.register_own()
    made = gymnasium.make("OpenSimWalk2D-v0", disable_env_checker=True)
    assert made.spec is not None
    assert made.spec.max_episode_steps is None, "it ends by itself, sooner or later by difficulty"
    assert made.unwrapped.dt == 0.01
    observation, info = made.reset(seed=3)
    assert made.observation_space.contains(observation)
    assert observation.shape == (339,)
    assert observation[242] == pytest.approx(START_POSE[2], abs=1e-6)
    observation, reward, terminated, truncated, info = made.step(np.full(22, 0.1))
    assert made.observation_space.contains(observation)
    assert (type(reward), terminated, truncated) == (float, False, False)
    assert info["time_s"] == 0.01
    assert info["distance_m"] == pytest.approx(0.017, abs=0.002)
    assert sum(info["reward_terms"].values()) == pytest.approx(reward)


def test_registering_it_does_not_import_opensim() -> None:
    code = (
        "import sys; from env import registry; registry.register_own();"
        "import env.musculoskeletal.walk2d; assert 'opensim' not in sys.modules;"
        "assert 'osim' not in sys.modules and 'gym' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


WITHOUT = {
    "opensim": 'sys.modules["opensim"] = None',
    "osim-rl": """
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "osim" else find(name, *more)
""",
}


@pytest.mark.parametrize("package", WITHOUT)
def test_a_missing_package_is_one_line_with_its_install(package: str, tmp_path: Path) -> None:
    code = f"""
import importlib.util, sys
{WITHOUT[package]}
from env import registry
from env.spec import EnvSpec
from errors import EnvUnavailable
try:
    registry.make(EnvSpec("OpenSimWalk2D-v0"))
except EnvUnavailable as error:
    print(error)
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(rf"pip install .*{package}==", shown)
    assert len(shown.splitlines()) == 1


def test_standing_to_the_time_limit_earns_the_bonus_and_truncates() -> None:
    env = Walk2D(time_limit_steps=3)
    env.reset()
    ends = [env.step(np.full(22, 0.1))[1:4] for _ in range(3)]
    assert [(terminated, truncated) for _, terminated, truncated in ends] == [
        (False, False),
        (False, False),
        (False, True),
    ]
    assert ends[2][0] == pytest.approx(10.1)


def test_a_fallen_walker_terminates_without_bonus() -> None:
    env = Walk2D(time_limit_steps=1, pose=(0, 0, 0.59, *[0.0] * 9))
    env.reset()
    _, reward, terminated, truncated, _ = env.step(np.zeros(22))
    assert terminated
    assert truncated
    assert reward == pytest.approx(0.1)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_every_integrator_takes_the_walker_to_nearly_the_same_place(
    env: Walk2D, integrator: str
) -> None:
    expected = _pose_after(env, 3)
    assert _pose_after(Walk2D(integrator=integrator, accuracy=1e-5), 3) == pytest.approx(
        expected, abs=3e-3
    )


def _pose_after(env: Walk2D, steps: int) -> np.ndarray:
    env.reset()
    for action in actions()[:steps]:
        observation, *_ = env.step(action)
    return observation[[242, 243, 254, 255, 256, 257, 298, 299, 300]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"integrator": "RungeKutaMerson"}, "did you mean RungeKuttaMerson"),
        ({"integrator": "magic"}, "known: CPodes, ExplicitEuler"),
        ({"accuracy": 0.0}, "accuracy=0.0"),
        ({"accuracy": float("nan")}, "accuracy=nan"),
        ({"accuracy": "fine"}, "accuracy='fine'"),
        ({"difficulty": 5}, "difficulty=5"),
        ({"time_limit_steps": 0}, "time_limit_steps=0"),
        ({"pose": [1.0, 2.0]}, "12 finite numbers"),
        ({"pose": [float("nan")] * 12}, "12 finite numbers"),
        ({"render_mode": "human"}, "render_mode='human'"),
    ],
)
def test_an_option_that_cannot_work_is_one_clear_line(
    options: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Walk2D(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_model_file_is_named(tmp_path: Path) -> None:
    from env.musculoskeletal.model import MuscleModel

    with pytest.raises(ConfigError, match=r"no model file .*nowhere\.osim"):
        MuscleModel(tmp_path / "nowhere.osim")
    broken = tmp_path / "broken.osim"
    broken.write_text("<OpenSimDocument")
    with pytest.raises(ConfigError, match="not a model"):
        MuscleModel(broken)


def test_an_action_that_is_no_action_raises_and_what_is_outside_is_clipped(env: Walk2D) -> None:
    env.reset()
    for bad, says in ((np.zeros(23), "shape"), (np.full(22, np.nan), "NaN"), (0.5, "shape")):
        with pytest.raises(ValueError, match=says):
            env.step(bad)  # type: ignore[arg-type]
    clipped = env.step(np.full(22, np.inf))[0]
    env.reset()
    assert (env.step(np.ones(22))[0] == clipped).all()


def test_the_registry_makes_it_with_options() -> None:
    made = registry.make(
        EnvSpec("OpenSimWalk2D-v0", {"integrator": "SemiExplicitEuler2", "accuracy": 1e-3})
    )
    assert isinstance(made, Walk2D)
    assert registry.is_deterministic(EnvSpec("OpenSimWalk2D-v0"))


def test_a_footstep_is_paid_by_its_time_less_what_it_cost() -> None:
    reward = FootstepReward()
    standing, one_foot = (700.0, 700.0), (700.0, 0.0)
    first = reward.step([0.5, 0.1], (1.0, 0.0), (1.4, 0.0), succeeded=False)
    reward.observe_contact(one_foot)
    second = reward.step([0.5, 0.1], (1.0, 0.3), (1.4, 0.0), succeeded=False)
    reward.observe_contact(standing)
    third = reward.step([0.0, 0.0], (1.4, 0.0), (1.4, 0.0), succeeded=False)
    # 0.03 s since the start; deviation (-0.4, -0.4, 0) and (0, 0.3, 0) m/s; effort 0.26, 0.26, 0
    cost = 0.01 * np.hypot(-0.8, 0.3) + 0.01 * 0.52
    assert [first, second] == [0.1, 0.1]
    assert third == pytest.approx(0.1 + 10 * 0.03 - cost)
    assert reward.num_footsteps == 1
    reward.observe_contact(standing)
    assert reward.step([0.0], (0.0, 0.0), (0.0, 0.0), succeeded=False) == 0.1
