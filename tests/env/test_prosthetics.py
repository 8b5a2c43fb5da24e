"""OpenSimProsthetics-v0, by itself and beside episodes of osim-rl 2.1.5's own environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from recorded import Recording

from env.musculoskeletal.prosthetics import Prosthetics, draw_targets
from errors import ConfigError
from policy.mirror import MirroredBox

GOLDENS = Path(__file__).parent / "goldens"

EPISODE_IN_A_NEW_PROCESS = """
import numpy as np
from env.musculoskeletal.prosthetics import Prosthetics
env = Prosthetics(difficulty=1, preset="fast")
rows = [env.reset(seed=4)[0]]
rows += [env.step(action)[0] for action in np.random.default_rng(7).uniform(0, 0.5, (10, 19))]
print(b"".join(row.tobytes() for row in rows).hex())
"""


def actions(num_steps: int = 10, size: int = 19) -> np.ndarray:
    return np.random.default_rng(7).uniform(0, 0.5, (num_steps, size))


def episode(env: Prosthetics, seed: int) -> bytes:
    rows = [env.reset(seed=seed)[0]]
    rows += [env.step(action)[0] for action in actions()]
    return b"".join(row.tobytes() for row in rows)


@pytest.mark.parametrize("difficulty", [0, 1])
@pytest.mark.parametrize("prosthesis", [True, False])
@pytest.mark.parametrize("dimensions", [3, 2])
def test_observations_and_rewards_are_those_recorded_of_osim_rl_2_1_5(
    dimensions: int, prosthesis: bool, difficulty: int
) -> None:
    kind = f"{dimensions}D" + ("_pros" if prosthesis else "")
    golden = np.load(GOLDENS / f"prosthetics_{kind}.npz")
    expected, targets = golden["observations_to"], golden["targets_tv"]
    assert len(np.unique(targets, axis=0)) > 2
    env = Prosthetics(difficulty, dimensions, prosthesis)
    observation, _ = env.reset(seed=0)
    env.targets_tv = targets
    size = 160 if prosthesis else 169
    assert observation.shape == (size + 3 * difficulty,) == env.observation_space.shape
    assert observation[:size] == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
    recording = Recording()
    recorded = zip(golden["actions_ta"], golden[f"round{difficulty + 1}_t"], strict=True)
    for step, (action, expected_reward) in enumerate(recorded, 1):
        observation, reward, terminated, _, info = env.step(action)
        values = np.append(observation[:size], reward)
        recording.check(step, values, np.append(expected[step], expected_reward))
        assert sum(info["reward_terms"].values()) == pytest.approx(reward)
        assert not terminated
        if difficulty:
            assert (observation[size:] == targets[step]).all()


def test_each_penalty_is_a_term() -> None:
    first, second = Prosthetics(preset="fast"), Prosthetics(difficulty=1, preset="fast")
    for env in (first, second):
        env.reset(seed=0)
        _, _, _, _, info = env.step(np.full(19, 0.3))
        pelvis, terms = env.model.model.getBodySet().get("pelvis"), info["reward_terms"]
        velocity = pelvis.getVelocityInGround(env.model.state).get(1).to_numpy()
        if env is first:
            assert terms == {"alive": 9.0, "velocity": pytest.approx(-((velocity[0] - 3) ** 2))}
            continue
        squares = sum(muscle.getActivation(env.model.state) ** 2 for muscle in env.model.muscles)
        assert terms == {
            "alive": 10.0,
            "effort": pytest.approx(-0.001 * squares),
            "velocity_forward": pytest.approx(-((velocity[0] - 1.25) ** 2)),
            "velocity_sideways": pytest.approx(-(velocity[2] ** 2)),
        }


def test_targets_begin_forward_and_change_at_random_in_bounds() -> None:
    rng = np.random.default_rng(0)
    waits, speed_changes, turns = [], [], []
    for _ in range(150):
        targets = draw_targets(rng, 1001)
        assert targets.shape == (1001, 3)
        assert targets[0].tolist() == [1.25, 0, 0]
        assert (targets[:, 1] == 0).all()
        at = np.flatnonzero((np.diff(targets, axis=0) != 0).any(axis=1)) + 1
        waits += np.diff([0, *at]).tolist()
        ends = targets[[0, *at]]
        speed_changes += np.diff(np.hypot(ends[:, 0], ends[:, 2])).tolist()
        turns += np.diff(np.arctan2(ends[:, 2], ends[:, 0])).tolist()
    assert np.mean(waits) == pytest.approx(300, abs=5)
    assert np.std(waits) == pytest.approx(300**0.5, rel=0.2)
    for changes, bound in ((speed_changes, 0.5), (turns, np.pi / 8)):
        assert np.abs(changes).max() <= bound
        assert np.mean(changes) == pytest.approx(0, abs=0.1 * bound)
        assert np.std(changes) == pytest.approx(bound / 3**0.5, rel=0.1)


def test_a_seed_gives_one_episode_to_the_bit_also_mid_way_and_in_a_new_process() -> None:
    env = Prosthetics(difficulty=1, preset="fast")
    kept, targets = episode(env, 4), env.targets_tv
    episode(env, 5)
    assert (env.targets_tv != targets).any()
    env.reset()
    assert episode(env, 4) == kept
    assert (env.targets_tv == targets).all()
    assert episode(Prosthetics(difficulty=1, preset="fast"), 4) == kept
    new = subprocess.run(
        [sys.executable, "-c", EPISODE_IN_A_NEW_PROCESS], capture_output=True, text=True, check=True
    )
    assert bytes.fromhex(new.stdout) == kept
    assert new.stderr == ""


@pytest.mark.parametrize("dimensions", [3, 2])
def test_a_whole_body_in_the_mirror_is_observed_in_the_mirror(dimensions: int) -> None:
    env = Prosthetics(1, dimensions, prosthesis=False)
    assert isinstance(env.observation_space, MirroredBox)
    mirror = env.observation_space.mirror
    plain = [env.reset(seed=1)[0]]
    targets = env.targets_tv = env.targets_tv + np.array([0, 0, 0.1])
    plain += [env.step(action)[0] for action in actions(12, 22)]
    mirrored = [env.reset(seed=1)[0]]
    env.targets_tv = targets * [1, 1, -1]
    mirrored += [env.step(mirror.action(action))[0] for action in actions(12, 22)]
    for seen, image in zip(plain, mirrored, strict=True):
        assert mirror.observation(seen) == pytest.approx(image, abs=1e-5)
    assert np.abs(plain[-1] - mirrored[-1]).max() > 0.1


def test_a_body_with_a_prosthesis_has_no_mirror() -> None:
    assert not isinstance(Prosthetics().observation_space, MirroredBox)


def test_it_ends_when_the_pelvis_is_low_and_at_the_rounds_limit() -> None:
    low = Prosthetics(pose={"pelvis_ty": 0.5}, preset="fast")
    low.reset(seed=0)
    assert low.step(np.zeros(19))[2:4] == (True, False)
    short = Prosthetics(difficulty=1, time_limit_steps=2, preset="fast")
    short.reset(seed=0)
    ends = [short.step(action)[2:4] for action in actions(3)]
    assert ends == [(False, False), (False, True), (False, True)]
    assert len(short.targets_tv) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"difficulty": 2}, "difficulty=2 of OpenSimProsthetics-v0: expected 0 to 1"),
        ({"dimensions": 4}, "dimensions=4 of OpenSimProsthetics-v0: expected 2 or 3"),
        ({"dimensions": "3D"}, "dimensions='3D'"),
        ({"prosthesis": "left"}, "prosthesis='left' of .*: expected True or False"),
    ],
)
def test_an_option_that_cannot_work_is_one_clear_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Prosthetics(**options)
    assert "\n" not in str(caught.value)
