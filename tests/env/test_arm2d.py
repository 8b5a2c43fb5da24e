"""OpenSimArm2D-v0, by itself and beside osim-rl 3.0.11's own environment."""

from __future__ import annotations

import contextlib
import io
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from rivals import original_osim_rl

from env.musculoskeletal.arm2d import Arm2D
from errors import ConfigError

EPISODE_IN_A_NEW_PROCESS = """
import numpy as np
from env.musculoskeletal.arm2d import Arm2D
env = Arm2D()
rows = [env.reset(seed=4)[0]]
rows += [env.step(action)[0] for action in np.random.default_rng(7).uniform(0, 1, (10, 6))]
print(b"".join(row.tobytes() for row in rows).hex())
"""


@pytest.fixture(scope="module")
def env() -> Arm2D:
    return Arm2D()


def actions(num_steps: int = 10) -> np.ndarray:
    return np.random.default_rng(7).uniform(0, 1, (num_steps, 6))


def episode(env: Arm2D, seed: int = 4) -> bytes:
    rows = [env.reset(seed=seed)[0]]
    rows += [env.step(action)[0] for action in actions()]
    return b"".join(row.tobytes() for row in rows)


def reset(original: Any) -> np.ndarray:
    """The original's first observation of an episode."""
    # Otherwise the last action is still held while the muscles are equilibrated.
    original.osim_model.actuate(np.ones(6))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its target
        original.reset(obs_as_dict=False)
    # What its reset returns still shows the target of the episode before.
    return np.array(original.get_observation())


def test_observations_and_rewards_are_the_originals_to_the_bit() -> None:
    original, ours = original_osim_rl.arm(), Arm2D()
    for seed in (1, 2):
        random.seed(seed)
        expected = reset(original)
        ours.np_random = random.Random(seed)  # type: ignore[assignment]
        observation, _ = ours.reset()
        assert (observation == expected).all()
        for action in actions(40):
            expected, expected_reward, done, _ = original.step(action, obs_as_dict=False)
            observation, reward, terminated, truncated, _ = ours.step(action)
            assert (observation == expected).all()
            assert reward == expected_reward
            assert done == (terminated or truncated)


def test_the_target_is_drawn_from_the_seed_and_stands_where_it_is_observed(env: Arm2D) -> None:
    seen = set()
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        x, y = observation[:2]
        if seed == 19:  # nor does it fall
            for action in actions(5):
                observation, *_, info = env.step(action)
        angle, radius = np.arctan2(0.8 - y, x), np.hypot(x, 0.8 - y)
        assert 0 <= angle <= np.pi * 2 / 3
        assert 0.3 <= radius <= 0.65
        env.model.model.realizePosition(env.model.state)
        body = env.model.model.getBodySet().get("target").getPositionInGround(env.model.state)
        assert (body.get(0), body.get(1)) == pytest.approx((x, y), abs=1e-12)
        assert info["target_distance_m"] == pytest.approx(np.hypot(*(observation[14:] - (x, y))))
        seen.add((x, y))
    assert len(seen) == 20
    assert env.reset(seed=0)[0][:2].tolist() == env.reset(seed=0)[0][:2].tolist()


def test_a_seed_gives_one_episode_to_the_bit_also_mid_way_and_in_a_new_process(
    env: Arm2D,
) -> None:
    kept = episode(env)
    episode(env, seed=5)
    assert episode(env) == kept
    env.step(np.ones(6))
    env.reset()
    assert episode(env) == kept
    assert episode(Arm2D()) == kept
    new = subprocess.run(
        [sys.executable, "-c", EPISODE_IN_A_NEW_PROCESS], capture_output=True, text=True, check=True
    )
    assert bytes.fromhex(new.stdout) == kept
    assert new.stderr == ""


def test_it_says_how_the_reward_came_about_and_ends_at_its_limit_only() -> None:
    env = Arm2D(time_limit_steps=3)
    assert env.reset(seed=1)[0].shape == env.observation_space.shape
    ends = []
    for action in actions(3):
        observation, reward, terminated, truncated, info = env.step(action)
        ends.append((terminated, truncated))
        assert info["reward_terms"] == {
            "alive": 1.0,
            "distance": pytest.approx(-(info["target_distance_m"] ** 2)),
        }
        assert reward == pytest.approx(1 - info["target_distance_m"] ** 2)
        assert info["distance_m"] == observation[14]
    assert ends == [(False, False), (False, False), (False, True)]


def test_each_action_drives_the_muscle_of_its_name() -> None:
    # Activations are observed by name: BIClong, BICshort, BRA, TRIlat, TRIlong, TRImed.
    env = Arm2D(preset="fast")
    for place, observed in enumerate((12, 11, 13, 8, 9, 10)):
        env.reset(seed=0)
        action = np.zeros(6)
        action[place] = 1.0
        for _ in range(3):
            observation, *_ = env.step(action)
        assert int(np.argmax(observation[8:14])) + 8 == observed


def test_a_start_pose_of_ones_own_leaves_the_target_to_the_seed() -> None:
    env = Arm2D(pose={"r_elbow_flex": 1.0})
    plain = Arm2D()
    for seed in (1, 2):
        observation, _ = env.reset(seed=seed)
        assert observation[5] == 1.0
        assert (observation[:2] == plain.reset(seed=seed)[0][:2]).all()
        body = env.model.model.getBodySet().get("target").getPositionInGround(env.model.state)
        assert (body.get(0), body.get(1)) == pytest.approx(tuple(observation[:2]), abs=1e-12)


def test_a_start_pose_cannot_move_the_target() -> None:
    with pytest.raises(ConfigError, match="the seed says where the target is"):
        Arm2D(pose={"target-joint_coord_1": 0.3})


def test_fresh_derivatives_are_fresh_though_accelerations_are_observed(env: Arm2D) -> None:
    fresh, fine = Arm2D(fresh_derivatives=True), Arm2D(accuracy=1e-9)
    ends = []
    for each in (env, fresh, fine):
        each.reset(seed=1)
        for action in actions(30):
            observation, *_ = each.step(action)
        ends.append(observation[[2, 3, 5, 6, 14, 15]])
    old_error, fresh_error = (np.abs(end - ends[2]).max() for end in ends[:2])
    assert 0 < fresh_error < old_error


@pytest.mark.parametrize("difficulty", [1, -1, "easy", None])
def test_it_has_one_difficulty(difficulty: object) -> None:
    with pytest.raises(ConfigError, match=r"difficulty=.* of OpenSimArm2D-v0"):
        Arm2D(difficulty=difficulty)  # type: ignore[arg-type]
