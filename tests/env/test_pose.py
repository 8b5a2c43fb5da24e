"""Start poses by coordinate."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env.musculoskeletal.model import MuscleModel, import_opensim, osim_rl_folder
from env.musculoskeletal.pose import places, posed
from env.musculoskeletal.walk import START_POSE
from env.musculoskeletal.walk2d import Walk2D
from env.registry import make
from env.spec import EnvSpec
from errors import ConfigError

AS_START = {
    "pelvis_tx/speed": 1.7,
    "pelvis_ty": 0.9023,
    "pelvis_tilt": -0.2012,
    "hip_flexion_r": 0.6952,
    "knee_angle_r": -0.3231,
    "ankle_angle_r": -0.1709,
    "hip_flexion_l": 0.0528,
    "knee_angle_l": -0.8042,
    "ankle_angle_l": 0.1745,
}


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> MuscleModel:
    """The 2017 model, its knees tied to bend alike."""
    opensim = import_opensim()
    model = opensim.Model(str(osim_rl_folder() / "models" / "gait9dof18musc.osim"))
    tie = opensim.CoordinateCouplerConstraint()
    tie.setName("knees")
    leaders = opensim.ArrayStr()
    leaders.append("knee_angle_r")
    tie.setIndependentCoordinateNames(leaders)
    tie.setDependentCoordinateName("knee_angle_l")
    tie.setFunction(opensim.LinearFunction(1.0, 0.0))
    model.addConstraint(tie)
    path = tmp_path_factory.mktemp("model") / "tied.osim"
    model.initSystem()
    model.printToXML(str(path))
    return MuscleModel(path)


def test_a_pose_by_name_is_the_pose_by_numbers() -> None:
    by_name, by_number = Walk2D(pose=AS_START), Walk2D(pose=START_POSE)
    expected = by_number.reset()[0]
    # The numbers also say 0.5 m/s to the right, which the plane takes away with the first step.
    expected[246] = 0
    assert by_name.reset()[0] == pytest.approx(expected, abs=1e-6)
    assert by_number.reset()[0][242] == pytest.approx(0.9023)
    for env in (by_name, by_number):
        env.step(np.full(22, 0.1))
    assert by_name.distance_m == pytest.approx(by_number.distance_m, abs=1e-6)


def test_what_is_not_named_keeps_the_models_default() -> None:
    env = Walk2D(pose={"knee_angle_r": -0.5})
    observation, _ = env.reset()
    assert observation[242] == pytest.approx(0.94)
    assert observation[[256, 300]] == pytest.approx([-0.5, 0], abs=1e-9)
    assert observation[245:251] == pytest.approx(np.zeros(6), abs=1e-9)


def test_coordinates_are_found_at_their_place_in_the_state(tied: MuscleModel) -> None:
    found = places(tied)
    assert sorted(found.values()) == list(range(10))
    q, u = posed(tied, {"pelvis_tx": 3.0, "knee_angle_r": -0.4, "ankle_angle_l/speed": 2.0})
    assert q[found["pelvis_tx"]] == pytest.approx(3.0, abs=1e-6)
    assert u[found["ankle_angle_l"]] == pytest.approx(2.0)
    assert q[found["knee_angle_l"]] == pytest.approx(-0.4, abs=1e-5), "tied to the other"


def test_a_pose_that_cannot_be_assembled_is_refused(tied: MuscleModel) -> None:
    with pytest.raises(ConfigError, match=r"tied\.osim cannot be assembled") as caught:
        posed(tied, {"knee_angle_r": -0.2, "knee_angle_l": -1.2})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pose", "says"),
    [
        ({"knee_angel_r": 0.1}, "no coordinate 'knee_angel_r'; did you mean knee_angle_r"),
        ({"knee_angle_r": float("nan")}, "knee_angle_r=nan: expected a finite number"),
        ({"knee_angle_r": "bent"}, "knee_angle_r='bent': expected a finite number"),
        ({"knee_angle_r/speed": None}, "expected a finite number"),
        ({"hip_flexion_r": 30.0}, r"hip_flexion_r=30.0: the model allows -2.094 to 2.094"),
        ({"lumbar_extension": 0.1}, "lumbar_extension is locked"),
        ({"lumbar_extension/speed": 0.1}, "lumbar_extension/speed is locked"),
        ([1.0] * 9, "12 finite numbers"),
        ("standing", "12 finite numbers"),
    ],
)
def test_a_bad_pose_is_one_line_before_anything_runs(pose: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make(EnvSpec("OpenSimWalk2D-v0", {"pose": pose}))  # type: ignore[dict-item]
    assert "\n" not in str(caught.value)
