"""OpenSimWalk3D-v0 by itself, and what both walkers have from their base."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env.musculoskeletal.velocity_field import COURSES, FIELD_SHAPE, SinkField
from env.musculoskeletal.walk import START_POSE, walk_mirror
from env.musculoskeletal.walk2d import Walk2D
from env.musculoskeletal.walk3d import Walk3D
from env.registry import make, time_limit
from env.spec import EnvSpec
from errors import ConfigError
from policy.mirror import MirroredBox, mirror_between

ASTRIDE = (1.7, 0.5, 0.9023, 0.2012, 0.06, *START_POSE[5:8], -0.03, *START_POSE[9:])


def mirrored(pose: tuple[float, ...]) -> tuple[float, ...]:
    return (pose[0], -pose[1], *pose[2:4], *pose[8:12], *pose[4:8])


def episode(env: Walk3D, seed: int | None, num_steps: int = 6) -> bytes:
    rows = [env.reset(seed=seed)[0]]
    for action in np.random.default_rng(7).uniform(0, 0.4, (num_steps, 22)):
        observation, reward, *_ = env.step(action)
        rows += [observation, np.array([reward])]
    return b"".join(row.tobytes() for row in rows)


@pytest.mark.parametrize("walker", [Walk2D, Walk3D])
def test_in_a_mirror_it_walks_the_same_way(walker: type[Walk2D | Walk3D]) -> None:
    env, image = walker(pose=ASTRIDE), walker(pose=mirrored(ASTRIDE))
    mirror = mirror_between(env.observation_space, env.action_space)
    seen, seen_in_mirror = env.reset()[0], image.reset()[0]
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert mirror.observation(seen) == pytest.approx(seen_in_mirror, abs=1e-6)
        assert seen != pytest.approx(seen_in_mirror, abs=0.1)
        action = rng.uniform(0, 1, 22)
        seen, reward, *_ = env.step(action)
        seen_in_mirror, reward_in_mirror, *_ = image.step(mirror.action(action))
        assert reward == pytest.approx(reward_in_mirror)


def test_in_a_mirror_it_sees_the_field_of_a_target_on_the_other_side() -> None:
    fields = []
    for side in (1, -1):
        field = SinkField(COURSES[2])
        field.reset(np.random.default_rng(0))
        field.target = np.array([4.0, side * 3.0])
        field._draw_map(0.0, 0.0, 0.5)
        out = np.zeros(FIELD_SHAPE)
        field.write_local((1.0, side * 0.5, side * 0.3), out)
        fields.append(np.append(out.ravel(), np.zeros(97)))
    assert walk_mirror().observation(fields[0]) == pytest.approx(fields[1], abs=1e-12)


def test_an_episode_is_determined_by_its_seed_at_reset() -> None:
    env = Walk3D(difficulty=2, preset="fast")
    kept = {seed: episode(env, seed) for seed in (0, 1)}
    assert kept[0] != kept[1]
    np.random.seed(3)
    assert episode(env, 0) == kept[0]
    assert episode(Walk3D(difficulty=2, preset="fast"), 1) == kept[1]
    assert episode(env, None) != episode(env, None), "without a seed the generator goes on"


def test_at_difficulty_0_seeds_change_nothing() -> None:
    env = Walk3D(preset="fast")
    assert episode(env, 0, 3) == episode(env, 1, 3)


def test_a_later_target_is_also_drawn_from_the_seed_of_reset() -> None:
    env = Walk3D(difficulty=3, preset="fast")
    second = []
    for seed in (4, 5, 4):
        env.reset(seed=seed)
        first = np.array(env._field.target)
        env._field.target, env._field._stay_s = np.array([env.distance_m, 0.0]), 0.0
        env.step(np.full(22, 0.1))
        assert not np.array_equal(env._field.target, first)
        second.append(tuple(env._field.target))
    assert second[0] == second[2] != second[1]


def test_the_hardest_course_has_25_seconds() -> None:
    assert [time_limit(EnvSpec("OpenSimWalk3D-v0", {"difficulty": d})) for d in range(4)] == [
        1000,
        1000,
        1000,
        2500,
    ]
    assert Walk3D(difficulty=3)._time_limit_steps == 2500
    assert Walk3D()._time_limit_steps == 1000


def test_it_is_made_by_its_id_and_can_fall_sideways() -> None:
    env = make(EnvSpec("OpenSimWalk3D-v0", {"preset": "fast", "difficulty": 3}))
    assert isinstance(env.observation_space, MirroredBox)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation[246] == pytest.approx(-0.5)
    for _ in range(10):
        observation, *_, info = env.step(np.full(22, 0.05))
    assert observation[246] < -0.3, "it still moves to the right"
    assert observation[244] != 0
    assert set(info["reward_terms"]) == {"alive", "footstep", "velocity", "effort", "target"}


@pytest.mark.parametrize("difficulty", [-1, 4, 1.5, 3.0, "hard", None, True])
def test_an_unknown_difficulty_is_one_line(difficulty: object) -> None:
    with pytest.raises(ConfigError, match="of OpenSimWalk3D-v0: expected 0 to 3") as caught:
        make(EnvSpec("OpenSimWalk3D-v0", {"difficulty": difficulty}))  # type: ignore[dict-item]
    assert "\n" not in str(caught.value)


def test_a_misspelt_option_is_found_out() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'preste'.*did you mean preset"):
        make(EnvSpec("OpenSimWalk3D-v0", {"preste": "fast"}))
