"""Models of the user's own: in OpenSimModel-v0, and where an environment expects its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env.musculoskeletal.model import import_opensim, osim_rl_folder
from env.registry import make, time_limit
from env.spec import EnvSpec
from errors import ConfigError

INCLUDE = Path(__file__).parent / "include"
MODELS = osim_rl_folder() / "models"
ARM = {"model": "arm26.osim", "reward": "own_rewards:forward"}
WALKER = {"model": "gait9dof18musc.osim", "reward": "own_rewards:forward", "preset": "fast"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder: a walker without hip adductors, and a file that is no model."""
    folder, path = tmp_path_factory.mktemp("mine"), list(sys.path)
    model = import_opensim().Model(str(MODELS / "gait14dof22musc_planar_20170320.osim"))
    forces = model.updForceSet()
    for name in ("add_r", "add_l"):
        assert forces.remove(forces.getIndex(name))
    model.initSystem()
    model.printToXML(str(folder / "weak.osim"))
    (folder / "broken.osim").write_text("<OpenSimDocument")
    shutil.copy(INCLUDE / "own_rewards.py", folder / "folder_rewards.py")
    yield folder
    sys.path[:] = path


def built(options: dict[str, object], name: str = "OpenSimModel-v0", include: Path = INCLUDE):
    return make(EnvSpec(name, options), include=include)  # type: ignore[arg-type]


def test_any_model_is_observed_by_its_coordinates_and_muscles() -> None:
    env = built(ARM | {"pose": {"r_elbow_flex": 0.7, "r_elbow_flex/speed": -1.0}})
    assert env.action_space.shape == (6,)
    observation, _ = env.reset(seed=0)
    coordinates = ["r_shoulder_elev", "r_elbow_flex"]
    assert observation.shape == env.observation_space.shape == (2 * 2 + 4 * 6,)
    assert observation[: len(coordinates)] == pytest.approx([0, 0.7], abs=1e-6)
    assert observation[2:4] == pytest.approx([0, -1], abs=1e-6)
    muscles = observation[4:].reshape(6, 4)
    for _ in range(5):
        observation, *_ = env.step(np.ones(6))
    later = observation[4:].reshape(6, 4)
    assert (later[:, 0] > muscles[:, 0] + 0.5).all(), "activations rise"
    assert ((later[:, 1] > 0.2) & (later[:, 1] < 2)).all(), "lengths near the optimal one"
    assert (later[:, 3] > 0).all(), "muscles pull"


def test_it_ends_where_the_body_falls_and_says_how_far_it_came() -> None:
    env = built(WALKER | {"body": "pelvis", "fallen_below_m": 0.908, "pose": {"pelvis_tx": 2.0}})
    _, info = env.reset(seed=0)
    assert info["distance_m"] == 0
    terminated, steps = False, 0
    while not terminated and steps < 30:
        _, reward, terminated, truncated, info = env.step(np.zeros(18))
        assert reward == pytest.approx(info["distance_m"] - 0.01)
        steps += 1
    assert terminated
    assert not truncated
    assert steps > 3
    assert abs(info["distance_m"]) < 0.3


def test_its_time_is_an_option() -> None:
    assert time_limit(EnvSpec("OpenSimModel-v0", ARM)) == 1000
    assert time_limit(EnvSpec("OpenSimModel-v0", ARM | {"time_limit_steps": 7})) == 7


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reward": "own_rewards:forward"}, "OpenSimModel-v0 needs a model of your own"),
        ({"model": "arm26.osim"}, "OpenSimModel-v0 needs a reward of your own"),
        (ARM | {"body": "hand"}, "body='hand': model arm26.osim has none of that name.*r_humerus"),
        (ARM | {"fallen_below_m": "low"}, "fallen_below_m='low': expected a height"),
        (ARM | {"pose": {"elbow": 1.0}}, "no coordinate 'elbow'.*r_elbow_flex"),
        (ARM | {"difficulty": 1}, "unknown option 'difficulty'"),
        (ARM | {"model": "nowhere.osim"}, "no file nowhere.osim in"),
        (ARM | {"model": "../include/own_rewards.py"}, "not a model that OpenSim reads|no file"),
        (ARM | {"model": "hop8dof9musc.txt"}, "no file"),
    ],
)
def test_what_it_cannot_use_is_one_line_before_anything_runs(
    options: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        built(options)
    assert "\n" not in str(caught.value)


def test_a_model_that_lacks_what_an_environment_reads_is_told_what(folder: Path) -> None:
    with pytest.raises(ConfigError, match="lacks what OpenSimWalk2D-v0 reads") as caught:
        built({"model": "weak.osim"}, "OpenSimWalk2D-v0", folder)
    assert "muscle add_r, muscle add_l;" in str(caught.value)
    with pytest.raises(
        ConfigError, match=r"body pelvis, coordinate pelvis_tilt,.*muscle tib_ant_l"
    ):
        built({"model": "arm26.osim"}, "OpenSimWalk3D-v0", folder)
    with pytest.raises(ConfigError, match=r"broken\.osim is not a model that OpenSim reads"):
        built({"model": "broken.osim"}, "OpenSimWalk2D-v0", folder)


def test_the_same_model_will_do_where_nothing_particular_is_read(folder: Path) -> None:
    env = built({"model": "weak.osim", "reward": "folder_rewards:forward"}, include=folder)
    assert env.action_space.shape == (20,)
    env.reset(seed=0)
    assert env.step(np.zeros(20))[2] is False


def test_a_model_of_ones_own_may_stand_in_an_environment_that_finds_its_parts() -> None:
    env = built({"model": "gait14dof22musc_20170320.osim", "preset": "fast"}, "OpenSimWalk2D-v0")
    observation, _ = env.reset(seed=0)
    for _ in range(10):
        observation, *_ = env.step(np.full(22, 0.05))
    assert observation[246] < -0.3, "the model in 3D goes sideways"


def test_a_file_in_the_users_folder_comes_before_osim_rls_of_that_name(folder: Path) -> None:
    shutil.copy(folder / "weak.osim", folder / "hop8dof9musc.osim")
    env = built({"model": "hop8dof9musc.osim", "reward": "folder_rewards:forward"}, include=folder)
    assert env.action_space.shape == (20,)
