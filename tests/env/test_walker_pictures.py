"""Pictures of OpenSimWalk2D-v0: snapshots, bones, and lines where there is no GL."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

pytest.importorskip("opensim")

from env.musculoskeletal import artist, scene
from env.musculoskeletal.scene import SkeletonScene, activation_colours, drawing_window
from env.musculoskeletal.stick_figure import StickFigure
from env.musculoskeletal.walk2d import Walk2D


@pytest.fixture(scope="module")
def env() -> Walk2D:
    made = Walk2D(render_mode="rgb_array")
    made.reset()
    return made


def test_a_snapshot_outlives_its_state_and_changes_nothing(env: Walk2D) -> None:
    other = Walk2D()
    other.reset()
    env.reset()
    first = env.snapshot()
    pelvis = first.bodies_b44[0].copy()
    total = 0.0
    for _ in range(5):
        seen, reward, *_ = env.step(np.full(22, 0.3))
        total += reward
        env.snapshot()
        unseen = other.step(np.full(22, 0.3))[0]
    assert (seen == unseen).all()
    assert (first.bodies_b44[0] == pelvis).all()
    later = env.snapshot()
    assert later.time_s == 0.05
    assert later.distance_m == later.bodies_b44[0, 0, 3]
    assert later.reward == total > 0.49
    assert later.bodies_b44.shape == (13, 4, 4)
    rotation = later.bodies_b44[1, :3, :3]
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert len(later.paths) == len(later.activations) == 22
    assert all(path.ndim == 2 and path.shape[1] == 3 for path in later.paths)


def test_muscles_turn_from_blue_to_red() -> None:
    rest, half, full = activation_colours(np.array([0.0, 0.5, 1.0])).astype(int)
    assert rest[2] > rest[0]
    assert full[0] > full[2]
    assert rest[0] < half[0] < full[0]


def _is_a_picture_of_somebody(frame: np.ndarray, nobody: np.ndarray) -> None:
    assert frame.shape == (480, 640, 3)
    assert frame.dtype == np.uint8
    changed = (frame.astype(int) - nobody.astype(int)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.mean() > 0.01, "nobody there"
    assert rows.max() - rows.min() > 250, "a walker of 1.8 m fills most of the height"
    assert 200 < columns.mean() < 440, "the camera follows"


def test_bones_are_drawn_and_followed(env: Walk2D) -> None:
    window = drawing_window()
    if window is None:
        pytest.skip("no OpenGL on this machine")
    env.reset()
    painter = SkeletonScene(env.model, window)
    snapshot = env.snapshot()
    frame = painter.draw(snapshot)
    assert (painter.draw(snapshot) == frame).all()
    _is_a_picture_of_somebody(frame, _without_body(painter, snapshot))
    for _ in range(20):
        env.step(np.full(22, 0.05))
    later = env.snapshot()
    assert later.distance_m > 0.25
    moved = painter.draw(later)
    assert (moved != frame).any()
    _is_a_picture_of_somebody(moved, _without_body(painter, later))
    painter.close()


def _without_body(painter: SkeletonScene | StickFigure, snapshot: scene.Snapshot) -> np.ndarray:
    far = snapshot.bodies_b44.copy()
    far[:, 2, 3] += 500
    far[:, 0, 3] += 5000
    paths = tuple(path + np.array([5000, 0, 500]) for path in snapshot.paths)
    kept = (snapshot.time_s, snapshot.distance_m, snapshot.reward)
    return painter.draw(scene.Snapshot(far, paths, snapshot.activations, *kept))


def test_without_gl_lines_are_drawn_and_one_line_says_what_to_install(
    env: Walk2D, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artist, "drawing_window", lambda: None)
    said: list[str] = []
    painter = artist.find_artist(env.model, said.append)
    assert isinstance(painter, StickFigure)
    assert len(said) == 1
    assert "apt-get install libegl1" in said[0]
    env.reset()
    snapshot = env.snapshot()
    _is_a_picture_of_somebody(painter.draw(snapshot), _without_body(painter, snapshot))


def test_a_window_class_that_ends_its_process_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scene, "_PROBE", "import os; os.abort()")
    assert drawing_window.__wrapped__() is None


def test_render_is_a_frame_and_none_without_a_mode(env: Walk2D) -> None:
    if drawing_window() is None:
        pytest.skip("no OpenGL on this machine")
    env.reset()
    assert env.render().shape == (480, 640, 3)
    env.close()
    plain = Walk2D()
    plain.reset()
    assert plain.render() is None


def test_drawing_leaves_nothing_on_the_terminal() -> None:
    code = (
        "from env.musculoskeletal.walk2d import Walk2D\n"
        "env = Walk2D(render_mode='rgb_array'); env.reset(); env.render(); env.close()\n"
    )
    if drawing_window() is None:
        pytest.skip("no OpenGL on this machine")
    import sys

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("", "")
