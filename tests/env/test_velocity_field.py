"""The velocity fields, and osim-rl's own beside them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from rivals import original_osim_rl

from env.musculoskeletal.velocity_field import COURSES, FIELD_SHAPE, ConstantField, SinkField

STEPS_TO_STAY = 401
"""As long as a target can ask for, 4 s, and a step."""


@pytest.fixture(scope="module")
def original():
    return original_osim_rl.walk("2D", difficulty=0).vtgt


def seen(field, pose: tuple[float, float, float]) -> np.ndarray:
    out = np.full(FIELD_SHAPE, np.nan)
    field.write_local(pose, out)
    return out


def started(difficulty: int, seed: int = 1) -> SinkField:
    field = SinkField(COURSES[difficulty])
    field.reset(np.random.default_rng(seed))
    return field


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_a_course_is_the_originals_to_the_last_bits_wherever_the_walker_stands(
    original, difficulty: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np.random, "uniform", np.random.default_rng(1).uniform)
    original.reset(version=difficulty)
    field = started(difficulty)
    places = np.random.default_rng(2).uniform(-9, 9, (8, 3))
    places[0] = 0
    for place in places:
        expected, _ = original.update(place)
        assert field.update(tuple(place)) is False
        assert seen(field, tuple(place)) == pytest.approx(expected, rel=0, abs=1e-15)
        assert field.at(*place[:2]) == pytest.approx(
            original.get_vtgt(place[:2])[:, 0], rel=0, abs=1e-15
        )


def test_beyond_the_edge_of_its_map_a_field_is_as_at_the_edge_as_in_the_original(
    original, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np.random, "uniform", np.random.default_rng(1).uniform)
    original.reset(version=2)
    field = started(2)
    for place in ((19.0, -18.0, 0.4), (30.0, 2.0, -3.0), (-45.0, 45.0, 1.0)):
        expected = original.get_vtgt_field_local(np.array(place))
        assert seen(field, place) == pytest.approx(expected, rel=0, abs=1e-15)
    assert field.at(20.0, 3.0) == field.at(1000.0, 3.0)


@pytest.mark.parametrize(("difficulty", "reached"), [(1, 4), (3, 2)])
def test_targets_follow_on_each_other_as_in_the_original(
    original, difficulty: int, reached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np.random, "uniform", np.random.default_rng(4).uniform)
    monkeypatch.setattr(original, "get_vtgt_field_local", lambda pose: None)  # 0.5 ms a call
    original.reset(version=difficulty)
    # Its map has a row too many at times, by rounding: it is compared above, before the first move.
    monkeypatch.setattr(original, "create_vtgt_sink", lambda v: draw_as(original))
    original_field, flags = original.vtgt_obj, 0
    field = started(difficulty, seed=4)
    for _ in range(4):
        pose = (*field.target, 0.3)
        for _ in range(STEPS_TO_STAY):
            _, flag = original.update(np.array(pose))
            flags += flag
            assert field.update(pose) == bool(flag)
            if flag:
                assert field.target == pytest.approx(original.p_sink, abs=1e-12)
                break
    assert flags == reached
    assert original.vtgt_obj is original_field


def draw_as(original) -> None:
    """The draws of `VTgtField.create_vtgt_sink`, without its map."""
    np.random.uniform(-np.pi, np.pi)
    original.t0_target = np.random.uniform(2, 4)


def test_a_second_target_has_the_field_of_the_original_where_that_one_can_be_built(
    original, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np.random, "uniform", np.random.default_rng(6).uniform)
    original.reset(version=2)
    field = started(2, seed=6)
    pose = (*(np.round(4 * field.target) / 4), 0.3)  # a place that is exact in binary
    original.t0_target = field._stay_s = -1.0
    original.p_sink = np.array(pose[:2])
    field.target = np.array(pose[:2])
    expected, flag = original.update(np.array(pose))
    assert flag
    assert field.update(pose)
    assert seen(field, pose) == pytest.approx(expected, abs=1e-13)


def test_a_target_at_which_the_original_stops_is_a_target_here(
    original, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    raised = 0
    while not raised:
        pose = (*rng.uniform(-20, 20, 2), 0.3)
        monkeypatch.setattr(np.random, "uniform", np.random.default_rng(1).uniform)
        original.reset(version=2)
        original.p_sink, original.t0_target = np.array(pose[:2]), -1.0
        field = started(2)
        field.target, field._stay_s = np.array(pose[:2]), -1.0
        try:
            original.update(np.array(pose))
        except (ValueError, IndexError):
            raised += 1
        assert field.update(pose)
        assert np.isfinite(seen(field, pose)).all()


def test_every_seed_gives_another_course_and_the_same_seed_the_same() -> None:
    targets = [tuple(started(2, seed).target) for seed in (0, 1, 2, 0)]
    assert len(set(targets)) == 3
    assert targets[0] == targets[3]
    assert (seen(started(2, 0), (0, 0, 0)) == seen(started(2, 0), (0, 0, 0))).all()


def test_leaving_a_target_starts_its_time_anew() -> None:
    field = started(1)
    target, away = (*field.target, 0.0), (0.0, 0.0, 0.0)
    stayed = round(100 * field._stay_s) - 5
    assert not any(field.update(target) for _ in range(stayed))
    field.update(away)
    assert not any(field.update(target) for _ in range(stayed))
    assert any(field.update(target) for _ in range(10))


def test_velocities_point_to_the_target_and_vanish_there() -> None:
    field = started(2)
    for x, y in ((1.0, 0.5), (-3.0, 4.0), (2.5, -6.0)):
        towards = field.target - (x, y)
        velocity = np.array(field.at(x, y))
        assert velocity @ towards == pytest.approx(
            np.linalg.norm(velocity) * np.linalg.norm(towards), rel=0.01
        )
        assert 0.75 < np.linalg.norm(velocity) < 1.85
    assert np.linalg.norm(field.at(*field.target)) < 0.3


def test_a_map_point_exactly_at_the_target_stands_still() -> None:
    field = started(1)
    field.target = np.array([6.0, 0.0])
    field._draw_map(0.0, 0.0, 0.0)
    assert field.at(6.0, 0.0) == (0.0, 0.0)


def test_a_constant_field_turns_against_the_walkers_yaw() -> None:
    field = ConstantField(1.4, 0.0)
    turned = seen(field, (3.0, -2.0, np.pi / 2))
    assert turned[0] == pytest.approx(np.zeros((11, 11)), abs=1e-12)
    assert turned[1] == pytest.approx(np.full((11, 11), -1.4))
