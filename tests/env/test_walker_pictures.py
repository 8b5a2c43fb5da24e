"""Pictures of OpenSim models: snapshots, bones, and lines where there is no GL."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opensim")

from env.musculoskeletal import artist, scene
from env.musculoskeletal.arm2d import Arm2D
from env.musculoskeletal.geometry import GROUND, pieces
from env.musculoskeletal.model import MuscleModel, import_opensim, osim_rl_folder
from env.musculoskeletal.run import Run
from env.musculoskeletal.scene import SkeletonScene, activation_colours, drawing_window
from env.musculoskeletal.snapshot import Snapshot, take_snapshot
from env.musculoskeletal.stick_figure import StickFigure
from env.musculoskeletal.sticks import view_of
from env.musculoskeletal.walk2d import Walk2D

MODELS = osim_rl_folder() / "models"
WALKERS = (
    "gait14dof22musc_planar_20170320",
    "gait14dof22musc_20170320",
    "gait9dof18musc",
    "gait14dof22musc_planar_pros_20180507",
    "gait14dof22musc_pros_20180507",
)
ARM = "arm2dof6musc"


@pytest.fixture(scope="module")
def env() -> Walk2D:
    made = Walk2D(render_mode="rgb_array")
    made.reset()
    return made


def window() -> str:
    found = drawing_window()
    if found is None:
        pytest.skip("no OpenGL on this machine")
    return found


def test_a_snapshot_outlives_its_state_and_changes_nothing(env: Walk2D) -> None:
    other = Walk2D()
    other.reset()
    env.reset()
    first = env.snapshot()
    pelvis = first.bodies_b44[0].copy()
    for _ in range(5):
        seen = env.step(np.full(22, 0.3))[0]
        env.snapshot()
        unseen = other.step(np.full(22, 0.3))[0]
    assert (seen == unseen).all()
    assert (first.bodies_b44[0] == pelvis).all()
    later = env.snapshot()
    assert later.time_s == 0.05
    assert later.bodies_b44.shape == (13, 4, 4)
    assert later.bodies_b44[0, 0, 3] == env.distance_m > 0
    rotation = later.bodies_b44[1, :3, :3]
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert len(later.paths) == len(later.activations) == 22
    assert all(path.ndim == 2 and path.shape[1] == 3 for path in later.paths)


def test_muscles_turn_from_blue_to_red() -> None:
    rest, half, full = activation_colours(np.array([0.0, 0.5, 1.0])).astype(int)
    assert rest[2] > rest[0]
    assert full[0] > full[2]
    assert rest[0] < half[0] < full[0]


def _figure(painter: SkeletonScene | StickFigure, snapshot: Snapshot) -> tuple[slice, slice]:
    """Rows and columns that the model covers: what changes when it turns invisible."""
    frame = painter.draw(snapshot)
    assert frame.shape == (480, 640, 3)
    assert frame.dtype == np.uint8
    flat = snapshot.bodies_b44.copy()
    flat[:, :3, :3] = 0
    root = view_root(flat)
    flat[:, :3, 3] = root
    paths = tuple(np.repeat(root[None], 2, axis=0) for _ in snapshot.paths)
    nobody = painter.draw(replace(snapshot, bodies_b44=flat, paths=paths))
    rows, columns = np.nonzero((frame.astype(int) - nobody.astype(int)).any(axis=2))
    assert len(rows) > 0.005 * frame[..., 0].size, "nobody there"
    return slice(rows.min(), rows.max()), slice(columns.min(), columns.max())


def view_root(bodies_b44: np.ndarray) -> np.ndarray:
    """Where the first body is: out of sight behind the ground, and still in the middle."""
    place: np.ndarray = bodies_b44[0, :3, 3].copy()
    place[1] = -50
    return place


def _turned_left(snapshot: Snapshot) -> Snapshot:
    """The same walker, walking away from the camera."""
    turn_44 = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    paths = tuple(path @ turn_44[:3, :3].T for path in snapshot.paths)
    return replace(snapshot, bodies_b44=turn_44 @ snapshot.bodies_b44, paths=paths)


@pytest.mark.parametrize("name", WALKERS)
def test_a_walker_is_whole_in_the_picture_wherever_it_goes(name: str) -> None:
    model = MuscleModel(MODELS / f"{name}.osim")
    model.start()
    painters: list[SkeletonScene | StickFigure] = [StickFigure(model)]
    if drawing_window() is not None:
        painters.append(SkeletonScene(model, window()))
        assert painters[1].missing == []  # type: ignore[union-attr]
    snapshot = take_snapshot(model)
    far = snapshot.bodies_b44.copy()
    far[:, [0, 2], 3] += (123.4, -56.7)  # forward, and to the left
    paths = tuple(path + np.array([123.4, 0, -56.7]) for path in snapshot.paths)
    for painter in painters:
        rows, columns = _figure(painter, snapshot)
        assert rows.start > 28, "below the caption"
        assert rows.stop < 470
        assert rows.stop - rows.start > 340, "and it fills most of the height"
        assert columns.start > 100
        assert columns.stop < 540
        moved = _figure(painter, replace(snapshot, bodies_b44=far, paths=paths))
        assert abs(moved[0].start - rows.start) <= 2
        assert abs(moved[1].start - columns.start) <= 2
        turned = _figure(painter, _turned_left(snapshot))
        assert abs(turned[0].stop - rows.stop) < 15
        assert turned[0].start > 28
        painter.close()


def test_an_arm_is_seen_from_the_side_with_its_target() -> None:
    env = Arm2D()
    env.reset(seed=1)
    view = view_of(env.model)
    assert view.floor_m is None
    assert view.root == GROUND
    snapshot = env.snapshot()
    # The shoulder, and not the ball, which is free to move too.
    assert view.focus(snapshot.bodies_b44) == pytest.approx([-0.0175, 0.793, 0.17], abs=1e-3)
    painters: list[SkeletonScene | StickFigure] = [StickFigure(env.model)]
    if drawing_window() is not None:
        painters.append(SkeletonScene(env.model, window()))
    for painter in painters:
        frame = painter.draw(snapshot).astype(int)
        red, green, blue = frame[..., 0], frame[..., 1], frame[..., 2]
        rows, columns = np.nonzero((green > 90) & (green > 2 * red) & (green > 2 * blue))
        per_m = 480 / view.height_m
        assert 0.5 < len(rows) / (np.pi * (0.02 * per_m) ** 2) < 2
        target = (np.array(env.target) - view.centre[:2]) * per_m
        assert columns.mean() == pytest.approx(320 + target[0], abs=12)
        assert rows.mean() == pytest.approx(240 - target[1], abs=12)
        painter.close()


def test_obstacles_are_drawn_where_they_lie_in_each_episode() -> None:
    env = Run(difficulty=1, num_obstacles=3)
    seen = []
    for seed in (1, 2):
        env.reset(seed=seed)
        balls = [piece for piece in pieces(env.model)[0] if piece.body == GROUND]
        expected = [
            (ball.x, ball.y, 0, ball.radius, ball.radius, ball.radius) for ball in env.obstacles
        ]
        found = [(*ball.place_44[:3, 3], *np.diag(ball.place_44)[:3]) for ball in balls]
        assert np.array(found) == pytest.approx(np.array(expected))
        assert all(ball.shape == "ellipsoid" for ball in balls)
        seen.append(found)
    assert seen[0] != seen[1]


def own_model(folder: Path, *meshes: str) -> Path:
    """A pendulum of the user's own, whose bob wears ``meshes`` and a few solids."""
    opensim = import_opensim()
    model = opensim.Model()
    model.setName("pendulum")
    bob = opensim.Body("bob", 1.0, opensim.Vec3(0), opensim.Inertia(1, 1, 1))
    joint = opensim.PinJoint(
        "pin",
        model.getGround(),
        opensim.Vec3(0, 1, 0),
        opensim.Vec3(0),
        bob,
        opensim.Vec3(0, 0.5, 0),
        opensim.Vec3(0),
    )
    frame = opensim.PhysicalOffsetFrame("rim", bob, opensim.Transform(opensim.Vec3(0.1, 0.2, 0.3)))
    bob.addComponent(frame)
    for name in meshes:
        mesh = opensim.Mesh(name)
        mesh.set_scale_factors(opensim.Vec3(1, 2, 3))
        frame.attachGeometry(mesh)
    cylinder = opensim.Cylinder(0.1, 0.2)
    cylinder.setColor(opensim.Vec3(1, 0, 0))
    cylinder.setOpacity(0.5)
    bob.attachGeometry(cylinder)
    frame.attachGeometry(opensim.Brick(opensim.Vec3(0.1, 0.2, 0.3)))
    hidden = opensim.Sphere(5.0)
    hidden.upd_Appearance().set_visible(False)
    bob.attachGeometry(hidden)
    model.addBody(bob)
    model.addJoint(joint)
    model.finalizeConnections()
    path = folder / "pendulum.osim"
    model.printToXML(str(path))
    return path


def test_meshes_of_a_model_of_ones_own_are_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "Geometry").mkdir()
    shutil.copy(MODELS / "Geometry" / "femur.vtp", tmp_path / "Geometry" / "thigh.vtp")
    (tmp_path / "plate.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "Geometry" / "wedge.stl").write_text(
        "solid w\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\n"
        "endloop\nendfacet\nendsolid w\n"
    )
    (tmp_path / "broken.stl").write_text("no mesh")
    names = ("thigh.vtp", "plate.obj", "wedge.stl", "C:\\models\\femur.vtp", "nowhere.vtp")
    model = MuscleModel(own_model(tmp_path, *names, "broken.stl"))
    found, missing = pieces(model)
    assert missing == ["nowhere.vtp"]
    files = [piece.shape for piece in found if isinstance(piece.shape, Path)]
    osim_rl = MODELS / "Geometry" / "femur.vtp"
    assert [file.name for file in files[:3]] == ["thigh.vtp", "plate.obj", "wedge.stl"]
    assert files[3] == osim_rl
    mesh = found[[piece.shape for piece in found].index(osim_rl)]
    assert mesh.place_44 == pytest.approx(
        np.array([[1, 0, 0, 0.1], [0, 2, 0, 0.2], [0, 0, 3, 0.3], [0, 0, 0, 1]])
    )
    solids = {piece.shape: piece for piece in found if isinstance(piece.shape, str)}
    assert set(solids) == {"cylinder", "box"}, "a hidden ball stays hidden"
    assert np.diag(solids["cylinder"].place_44) == pytest.approx([0.1, 0.2, 0.1, 1])
    assert solids["cylinder"].colour == (1, 0, 0)
    assert solids["cylinder"].opacity == 0.5
    assert solids["box"].place_44[:3, 3] == pytest.approx([0.1, 0.2, 0.3])
    model.start()
    said: list[str] = []
    painter = artist.find_artist(model, said.append)
    if drawing_window() is not None:
        assert isinstance(painter, SkeletonScene)
        (line,) = said
        assert line.startswith("without 2 meshes of pendulum.osim (nowhere.vtp, ")
        assert "broken.stl" in line
    assert painter.draw(take_snapshot(model)).std() > 5
    painter.close()


@pytest.mark.parametrize("name", [*WALKERS, ARM])
def test_without_gl_lines_are_drawn_and_one_line_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artist, "drawing_window", lambda: None)
    said: list[str] = []
    model = MuscleModel(MODELS / f"{name}.osim")
    model.start()
    painter = artist.find_artist(model, said.append)
    assert isinstance(painter, StickFigure)
    (line,) = said
    assert "apt-get install libegl1" in line
    muscles = (painter.draw(take_snapshot(model)).astype(int) * (-1, -1, 2)).sum(axis=2) > 100
    assert muscles.sum() > 200


def test_a_window_class_that_ends_its_process_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scene, "_PROBE", "import os; os.abort()")
    assert drawing_window.__wrapped__() is None


def test_render_is_a_frame_and_none_without_a_mode(env: Walk2D) -> None:
    window()
    env.reset()
    frame = env.render()
    assert frame.shape == (480, 640, 3)
    assert (env.render() == frame).all()
    env.close()
    plain = Walk2D()
    plain.reset()
    assert plain.render() is None


def test_drawing_leaves_nothing_on_the_terminal() -> None:
    code = (
        "from env.musculoskeletal.walk2d import Walk2D\n"
        "env = Walk2D(render_mode='rgb_array'); env.reset(); env.render(); env.close()\n"
    )
    window()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("", "")
