"""From names to environments."""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np
import pytest

from env.registry import OWN_ENVS, canonical_name, is_deterministic, make, time_limit
from env.spec import EnvSpec
from env.wrappers import FrameSkip, History
from errors import ConfigError, EnvUnavailable

MODULE = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Mine(gym.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, gain=1.0):
        self.gain = gain

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), self.gain, False, False, {}

class Talks(Mine):
    observation_space = spaces.Text(5)

class Breaks(Mine):
    def __init__(self):
        raise RuntimeError("no licence file\\nsecond line")

class Needs(Mine):
    def __init__(self):
        import no_such_package_at_all

gym.register("Mine-v0", Mine, max_episode_steps=30)
gym.register("Talks-v0", Talks)
gym.register("Breaks-v0", Breaks)
gym.register("Needs-v0", Needs)
"""


@pytest.fixture
def include(tmp_path):
    (tmp_path / "my_envs.py").write_text(MODULE)
    path, known = list(sys.path), set(gym.registry)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("my_envs", None)
    for name in set(gym.registry) - known:
        del gym.registry[name]


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("LunarLanderContinuous-v2", "LunarLanderContinuous-v3"),
        ("Pendulum-v0", "Pendulum-v1"),
        ("CartPole-v0", "CartPole-v1"),
        ("HalfCheetah-v2", "HalfCheetah-v5"),
        ("HalfCheetah-v3", "HalfCheetah-v5"),
        ("Ant-v4", "Ant-v5"),
        ("AntPyBulletEnv-v0", "Ant-v5"),
        ("Walker2DPyBulletEnv-v0", "Walker2d-v5"),
        ("PartiallyObservablePendulum", "PartiallyObservablePendulum-v0"),
        ("PartiallyObservableCartPoleEasy", "PartiallyObservableCartPoleEasy-v0"),
    ],
)
def test_old_names_become_today_s_with_one_line(old, today):
    lines: list[str] = []
    assert canonical_name(old, lines.append) == today
    assert lines == [f"environment {old} is now called {today}"]


@pytest.mark.parametrize(
    "name",
    ["LunarLanderContinuous-v3", "Ant-v5", *OWN_ENVS, "Blackjack-v1", "mod:Any-v0", "Nobody-v3"],
)
def test_today_s_names_and_unknown_ones_stay_without_a_word(name):
    lines: list[str] = []
    assert canonical_name(name, lines.append) == name
    assert lines == []


def test_sphere_is_an_alias_worth_no_notice():
    lines: list[str] = []
    assert canonical_name("sphere", lines.append) == "Sphere-v0"
    assert lines == []


def test_an_environment_comes_without_time_limit_order_enforcing_or_checker():
    env = make(EnvSpec("CartPole-v1"))
    assert env is env.unwrapped
    env.close()


def test_frame_skip_and_history_wrap_from_the_inside_out():
    env = make(EnvSpec("Pendulum-v1", frame_skip=2, history_len=3))
    assert isinstance(env, History)
    assert isinstance(env.env, FrameSkip)
    assert env.env.env is env.unwrapped
    assert env.observation_space.shape == (9,)


@pytest.mark.parametrize(
    ("spec", "cap"),
    [
        (EnvSpec("CartPole-v1"), 500),
        (EnvSpec("CartPole-v1", max_ep_length=80), 80),
        (EnvSpec("CartPole-v1", max_ep_length=8000), 500),
        (EnvSpec("Sphere-v0"), 1),
        (EnvSpec("OpenSimWalk2D-v0"), 1000),
        (EnvSpec("OpenSimWalk2D-v0", options={"time_limit_steps": 2000}), 2000),
        (EnvSpec("OpenSimWalk2D-v0", options={"time_limit_steps": None}), 1000),
        (EnvSpec("OpenSimWalk2D-v0", options={"difficulty": 3}), 2500),
        (EnvSpec("OpenSimWalk3D-v0", options={"difficulty": 3}, max_ep_length=2600), 2500),
        (EnvSpec("Blackjack-v1"), None),
    ],
)
def test_the_cap_is_the_lesser_of_what_was_asked_and_what_there_is(spec, cap):
    assert time_limit(spec) == cap


def test_only_environments_that_ignore_the_seed_are_deterministic():
    names = {name for name in OWN_ENVS if is_deterministic(EnvSpec(name))}
    assert names >= {"Sphere-v0", "OpenSimWalk2D-v0", "OpenSimWalk3D-v0", "OpenSimModel-v0"}
    assert not {name for name in names if name.startswith("Partially")}
    for difficulty in (1, 2, 3):
        assert not is_deterministic(EnvSpec("OpenSimWalk3D-v0", {"difficulty": difficulty}))
    assert is_deterministic(EnvSpec("OpenSimWalk3D-v0", {"difficulty": 0}))
    assert not is_deterministic(EnvSpec("CartPole-v1"))
    assert is_deterministic(EnvSpec("sphere"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LunarLandrContinuous-v3", "did you mean LunarLanderContinuous-v3"),
        ("NoSuchThingAtAll", "expected an id of Gymnasium"),
        ("CartPole-v9", "did you mean"),
        ("ALE/Pong-v5", "pip install ale-py"),
        ("GymV26Environment-v0", "no environment"),
        ("phys2d/CartPole-v1", "pip install"),
    ],
)
def test_an_environment_that_is_not_here_says_what_to_do(name, said):
    with pytest.raises(EnvUnavailable) as refused:
        make(EnvSpec(name))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "spec",
    [EnvSpec("CartPole-v1", frame_skip=0), EnvSpec("CartPole-v1", history_len=0)],
)
def test_wrappers_below_one_are_refused(spec):
    with pytest.raises(ConfigError, match="at least 1"):
        make(spec)


def test_options_reach_the_constructor():
    env = make(EnvSpec("Sphere-v0", options={"size": 3}))
    assert env.action_space.shape == (3,)
    with pytest.raises(ConfigError, match="gravty"):
        make(EnvSpec("Pendulum-v1", options={"gravty": 1.0}))
    with pytest.raises(ConfigError, match="at least 1 dimension"):
        make(EnvSpec("Sphere-v0", options={"size": 0}))


def test_a_user_s_own_environment_comes_from_the_folder_named(include):
    spec = EnvSpec("my_envs:Mine-v0", options={"gain": 2.5})
    env = make(spec, include=include)
    env.reset(seed=1)
    assert env.step(np.zeros(1))[1] == 2.5
    assert time_limit(spec, include) == 30
    assert canonical_name(spec.name, pytest.fail) == spec.name


def test_a_user_s_module_is_not_imported_without_a_folder_named(include):
    with pytest.raises(ConfigError, match="include=FOLDER"):
        make(EnvSpec("my_envs:Mine-v0"))
    assert "my_envs" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_envs:Min-v0", "did you mean Mine-v0"),
        ("my_envs:Talks-v0", "Text is not supported"),
        ("my_envs:Breaks-v0", "cannot be built with env_options={}: RuntimeError: no licence file"),
        ("my_envs:Needs-v0", "needs a package that is not installed"),
        ("os:Mine-v0", "no module os"),
        ("../my_envs:Mine-v0", "no module name"),
    ],
)
def test_a_user_s_environment_that_cannot_work_is_refused_in_one_line(include, name, said):
    with pytest.raises(ConfigError) as refused:
        make(EnvSpec(name), include=include)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_mujoco_leaves_no_log_in_the_folder_it_is_run_from(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    make(EnvSpec("HalfCheetah-v5")).reset(seed=0)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
