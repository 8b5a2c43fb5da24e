"""What a model did: taken down without a trace, and read back by OpenSim itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("opensim")

import opensim

from env.musculoskeletal.arm2d import Arm2D
from env.musculoskeletal.motion import Motion, RecordedEnv
from env.musculoskeletal.motion_files import write_motion
from env.musculoskeletal.motion_plots import write_plots
from env.musculoskeletal.opensim_env import OpenSimEnv
from env.musculoskeletal.prosthetics import Prosthetics
from env.musculoskeletal.walk2d import Walk2D
from errors import ResourceExhausted

NUM_STEPS = 12


def actions(size: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 0.6, (NUM_STEPS, size))


def recorded(env: OpenSimEnv) -> tuple[Motion, np.ndarray]:
    """An episode's motion, and its actions."""
    watched = RecordedEnv(env, env.model)
    watched.reset(seed=1)
    taken = actions(env.action_space.shape[0])
    for action in taken:
        watched.step(action)
    return watched.recorder.motion(), taken


@pytest.fixture(scope="module")
def walker() -> Walk2D:
    return Walk2D(preset="fast")


@pytest.fixture(scope="module")
def walk(walker: Walk2D) -> Motion:
    return recorded(walker)[0]


@pytest.mark.parametrize("fresh_derivatives", [False, True])
def test_taking_down_changes_nothing(fresh_derivatives: bool) -> None:
    plain = Arm2D(fresh_derivatives=fresh_derivatives)
    other = Arm2D(fresh_derivatives=fresh_derivatives)
    watched = RecordedEnv(other, other.model)
    assert (plain.reset(seed=1)[0] == watched.reset(seed=1)[0]).all()
    for action in actions(6):
        assert (plain.step(action)[0] == watched.step(action)[0]).all()


def test_opensim_reads_the_files_back_and_loads_the_motion_on_its_model(
    walker: Walk2D, walk: Motion, tmp_path: Path
) -> None:
    files = write_motion(tmp_path / "new" / "folder", walk)
    assert [file.name for file in files] == [
        *("states.sto", "coordinates.mot", "controls.sto", "ground_reactions.mot")
    ]
    tables = {file.stem: opensim.TimeSeriesTable(str(file)) for file in files}
    for name, table in tables.items():
        assert table.getNumRows() == NUM_STEPS + 1
        assert list(table.getIndependentColumn()) == walk.time_s.tolist()
        in_degrees = table.getTableMetaDataString("inDegrees")
        assert in_degrees == ("yes" if name == "coordinates" else "no")
    for name, columns in (("states", walk.states), ("controls", walk.controls)):
        assert list(tables[name].getColumnLabels()) == list(columns)
        for label, values in columns.items():
            read = tables[name].getDependentColumn(label).to_numpy()
            assert read.tolist() == values.tolist(), "not a bit is lost"
    angles = tables["coordinates"]
    assert angles.getDependentColumn("knee_angle_r").to_numpy() == pytest.approx(
        np.degrees(walk.coordinates["knee_angle_r"])
    )
    assert angles.getDependentColumn("pelvis_tx").to_numpy().tolist() == (
        walk.coordinates["pelvis_tx"].tolist()
    )
    model = opensim.Model(str(walker.model.path))
    for i in range(model.getCoordinateSet().getSize()):
        # createFromStatesTable makes states of NaN and then cannot set what is locked.
        model.getCoordinateSet().get(i).setDefaultLocked(False)
    model.initSystem()
    trajectory = opensim.StatesTrajectory.createFromStatesTable(model, tables["states"])
    assert trajectory.getSize() == NUM_STEPS + 1
    last = trajectory.get(NUM_STEPS)
    model.realizeVelocity(last)
    place = model.getBodySet().get("toes_l").getPositionInGround(last).to_numpy()
    index = model.getBodySet().getIndex("toes_l")
    assert place == pytest.approx(walker.snapshot().bodies_b44[index, :3, 3], abs=1e-12)
    muscle = model.getMuscles().get("soleus_l")
    assert walk.activations["soleus_l"][-1] == muscle.getActivation(last)
    # Older tools of OpenSim read tables by this class.
    storage = opensim.Storage(str(files[1]))
    assert storage.isInDegrees()
    assert storage.getSize() == NUM_STEPS + 1


def test_a_control_is_held_from_its_row_to_the_next() -> None:
    motion, taken = recorded(Arm2D(preset="fast"))
    held = np.column_stack(list(motion.controls.values()))
    assert list(motion.controls) == ["TRIlong", "TRIlat", "TRImed", "BIClong", "BICshort", "BRA"]
    assert held[:-1] == pytest.approx(taken, abs=1e-15)
    assert (held[-1] == held[-2]).all()


@pytest.mark.parametrize("name", ["walk", "prosthesis"])
def test_ground_reactions_carry_the_body_as_newton_has_it(name: str) -> None:
    env: OpenSimEnv = Walk2D(preset="fast") if name == "walk" else Prosthetics(preset="fast")
    motion, _ = recorded(env)
    assert [reaction.name for reaction in motion.reactions] == [
        *("foot_r" if name == "walk" else "pros_foot_r", "foot_l")
    ]
    model, state = env.model.model, env.model.state
    model.realizeAcceleration(state)
    acceleration = model.calcMassCenterAcceleration(state).to_numpy()
    acceleration[1] += 9.80665
    total = sum(reaction.force_t3[-1] for reaction in motion.reactions)
    assert total == pytest.approx(model.getTotalMass(state) * acceleration, rel=1e-6, abs=1e-4)
    assert total[1] > 100
    bodies = env.snapshot().bodies_b44
    for reaction, side in zip(motion.reactions, "rl", strict=True):
        force, point, torque = reaction.force_t3[-1], reaction.point_t3[-1], reaction.torque_t3[-1]
        if force[1] < 50:
            continue
        foot = f"calcn_{side}" if model.getBodySet().contains(f"calcn_{side}") else "pros_foot_r"
        heel = bodies[model.getBodySet().getIndex(foot), :3, 3]
        assert point[1] == 0
        assert -0.1 < point[0] - heel[0] < 0.35, "under the foot"
        assert abs(point[2] - heel[2]) < 0.1
        assert torque[[0, 2]] == pytest.approx([0, 0], abs=1e-9)


def test_reactions_are_named_as_in_opensims_gait_examples(walk: Motion, tmp_path: Path) -> None:
    table = opensim.TimeSeriesTable(str(write_motion(tmp_path, walk)[-1]))
    labels = list(table.getColumnLabels())
    assert labels[:3] == ["ground_force_vx", "ground_force_vy", "ground_force_vz"]
    assert labels[6:8] == ["1_ground_force_vx", "1_ground_force_vy"]
    for foot, reaction in zip(("", "1_"), walk.reactions, strict=True):
        for start, values in (
            ("force_v", reaction.force_t3),
            ("force_p", reaction.point_t3),
            ("torque_", reaction.torque_t3),
        ):
            for axis, letter in enumerate("xyz"):
                column = table.getDependentColumn(f"{foot}ground_{start}{letter}").to_numpy()
                assert column.tolist() == values[:, axis].tolist()


def test_terms_are_the_rewards_summands(walk: Motion) -> None:
    env = Walk2D(preset="fast")
    env.reset(seed=1)
    rewards = [float(env.step(action)[1]) for action in actions(22)]
    assert list(walk.terms) == ["alive", "footstep", "velocity", "effort", "bonus"]
    total = sum(walk.terms.values())
    assert total == pytest.approx(np.array([0.0, *rewards]))


def test_an_arm_stands_on_no_ground(tmp_path: Path) -> None:
    motion, _ = recorded(Arm2D(preset="fast"))
    files = write_motion(tmp_path, motion)
    assert motion.reactions == ()
    assert [file.name for file in files] == ["states.sto", "coordinates.mot", "controls.sto"]
    write_plots(tmp_path / "page.png", motion, "an arm")
    with Image.open(tmp_path / "page.png") as page:
        assert np.asarray(page.convert("L")).std() > 20


def test_plots_are_one_page_as_a_picture_or_as_a_document(walk: Motion, tmp_path: Path) -> None:
    write_plots(tmp_path / "page.png", walk, "a walk")
    with Image.open(tmp_path / "page.png") as page:
        assert page.height > page.width > 800
        assert np.asarray(page.convert("L")).std() > 20
    write_plots(tmp_path / "page.pdf", walk, "a walk")
    assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page ") == 1


def test_what_cannot_be_written_is_one_line(walk: Motion, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ResourceExhausted, match=r"cannot write .*taken"):
        write_motion(tmp_path / "taken", walk)
    with pytest.raises(ResourceExhausted, match="cannot write"):
        write_plots(tmp_path / "nowhere" / "page.png", walk, "a walk")
