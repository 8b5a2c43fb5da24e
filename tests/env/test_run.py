"""OpenSimRun-v0, by itself and beside an episode of osim-rl 2.1.5's own environment."""

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

from env.musculoskeletal.model import MuscleModel, osim_rl_folder
from env.musculoskeletal.obstacles import (
    Obstacle,
    ObstacleCourse,
    draw_obstacles,
    next_obstacle,
)
from env.musculoskeletal.run import Run
from env.musculoskeletal.state import LEGS, MUSCLES
from errors import ConfigError
from policy.mirror import MirroredBox
from policy.reflex import ReflexActor

GOLDENS = Path(__file__).parent / "goldens"
THIGH = ("hamstrings", "bifemsh", "glut_max", "iliopsoas", "rect_fem", "vasti")
SHANK = ("gastroc", "soleus", "tib_ant")

EPISODE_IN_A_NEW_PROCESS = """
import numpy as np
from env.musculoskeletal.run import Run
env = Run(difficulty=2, preset="fast")
rows = [env.reset(seed=4)[0]]
rows += [env.step(action)[0] for action in np.random.default_rng(7).uniform(0, 0.5, (12, 18))]
print(b"".join(row.tobytes() for row in rows).hex())
"""


def actions(num_steps: int = 12) -> np.ndarray:
    return np.random.default_rng(7).uniform(0, 0.5, (num_steps, 18))


def episode(env: Run, seed: int) -> bytes:
    rows = [env.reset(seed=seed)[0]]
    rows += [env.step(action)[0] for action in actions()]
    return b"".join(row.tobytes() for row in rows)


def as_in_the_challenge(returned_43: np.ndarray) -> np.ndarray:
    """The first 36 numbers of the challenge's observation from what 2.1.5 returns."""
    # Angle and velocity of left and right hip, knee and ankle in turns.
    joints = returned_43[6:18].reshape(3, 2, 2)
    angles, speeds = joints[..., 0], joints[..., 1]
    right_then_left = (*angles[:, 1], *angles[:, 0], *speeds[:, 1], *speeds[:, 0])
    centre = returned_43[[32, 33, 35, 36]]
    return np.concatenate((returned_43[:6], right_then_left, centre, returned_43[18:32]))


def test_observations_and_rewards_are_those_recorded_of_osim_rl_2_1_5() -> None:
    golden = np.load(GOLDENS / "l2run.npz")
    assert (golden["observations_to"][:, 38:] == 0).all()
    env = Run()
    observation, _ = env.reset()
    expected = as_in_the_challenge(golden["observations_to"][0])
    assert observation[:36] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    recording = Recording()
    recorded = zip(
        golden["actions_ta"], golden["rewards_t"], golden["observations_to"][1:], strict=True
    )
    for step, (action, expected_reward, returned) in enumerate(recorded, 1):
        observation, reward, terminated, _, _ = env.step(action)
        expected = np.append(as_in_the_challenge(returned), expected_reward)
        recording.check(step, np.append(observation[:36], reward), expected)
        assert not terminated
        assert observation[36:].tolist() == [1, 1, 100, 0, 0]


def test_the_walk_observation_says_the_same_in_the_walk_arounds_words() -> None:
    original, walk = Run(), Run(observation="walk")
    seen, same = original.reset()[0], walk.reset()[0]
    for action in actions(8):
        seen, same = original.step(action)[0], walk.step(action)[0]
    assert same.shape == (339,)
    assert (same[:242] == 0).all()
    pelvis, legs = same[242:251], same[251:].reshape(2, 44)
    assert pelvis[:2].tolist() == [seen[25], -seen[0]]
    assert pelvis[[3, 5]] == pytest.approx(seen[[4, 5]], abs=1e-12)
    assert pelvis[6] == -seen[3]
    assert (pelvis[[2, 4, 7, 8]] == 0).all()
    for leg, first in zip(legs, (6, 9), strict=True):
        hip, knee, ankle = seen[first : first + 3]
        assert leg[3:7].tolist() == [0, -hip, knee, -ankle]
        hip, knee, ankle = seen[first + 6 : first + 9]
        assert leg[7:11].tolist() == [0, -hip, knee, -ankle]
        assert (leg[11:17] == 0).all(), "hip abductors and adductors, which the model has not"


def test_ground_reactions_are_in_body_weights_of_this_model() -> None:
    env = Run(observation="walk")
    env.reset()
    for action in actions(12):
        observation, *_ = env.step(action)
    model, state = env.model.model, env.model.state
    model.realizeAcceleration(state)
    acceleration = model.calcMassCenterAcceleration(state)
    right, left = observation[251:254], observation[295:298]
    assert right[0] + left[0] == pytest.approx(acceleration.get(0) / 9.80665, abs=1e-6)
    assert right[2] + left[2] == pytest.approx(1 + acceleration.get(1) / 9.80665, abs=1e-6)
    assert right[2] + left[2] > 0.3


def test_muscles_are_felt_where_the_reflexes_look_for_them() -> None:
    env = Run(observation="walk")
    env.reset()
    for _ in range(5):
        observation, *_ = env.step(np.full(18, 0.3))
    hip = (None, None, "iliopsoas", "glut_max")
    of_a_leg = (*hip, "hamstrings", "rect_fem", "vasti", "bifemsh", *SHANK)
    muscles = env.model.model.getMuscles()
    for first, side in ((262, "r"), (306, "l")):
        for i, name in enumerate(of_a_leg):
            if name is None:
                continue
            muscle, state = muscles.get(f"{name}_{side}"), env.model.state
            force, length, speed = observation[first + 3 * i : first + 3 * i + 3]
            assert force == muscle.getFiberForce(state) / muscle.getMaxIsometricForce()
            assert length == muscle.getFiberLength(state) / muscle.getOptimalFiberLength()
            assert speed == muscle.getFiberVelocity(state) / muscle.getOptimalFiberLength()


def test_the_reflexes_drive_it() -> None:
    env = Run(observation="walk", preset="fast")
    actor = ReflexActor(env.observation_space, env.action_space, {})
    actor.load(np.zeros(37, np.float32), None)
    actor.reset(np.random.default_rng(0))
    observation, _ = env.reset()
    for _ in range(20):
        observation, _, terminated, _, _ = env.step(actor.act(observation))
    assert not terminated


def test_each_action_drives_the_muscle_of_its_name() -> None:
    env = Run(preset="fast")
    env.reset()
    places = [f"{name}_{side}" for side in "rl" for name in (*THIGH, *SHANK)]
    env.step(np.linspace(0.1, 0.9, 18))
    controls = env.model.model.getControls(env.model.state)
    held = {str(muscle.getName()): controls.get(i) for i, muscle in enumerate(env.model.muscles)}
    assert [held[name] for name in places] == pytest.approx(np.linspace(0.1, 0.9, 18))


def test_so_it_does_in_a_model_that_has_them_in_another_order() -> None:
    """The reflexes know the walk-around models' muscles by their order."""
    env = Run(
        preset="fast",
        model=str(osim_rl_folder() / "models" / "gait14dof22musc_planar_20170320.osim"),
        observation="walk",
    )
    env.reset()
    places = [f"{name}_{side}" for side in LEGS for name in MUSCLES.values()]
    env.step(np.linspace(0.1, 0.9, 22))
    controls = env.model.model.getControls(env.model.state)
    held = {str(muscle.getName()): controls.get(i) for i, muscle in enumerate(env.model.muscles)}
    assert [held[name] for name in places] == pytest.approx(np.linspace(0.1, 0.9, 22))


@pytest.mark.parametrize("observation", ["original", "walk"])
def test_a_mirrored_run_is_observed_in_the_mirror(observation: str) -> None:
    env = Run(observation=observation)
    assert isinstance(env.observation_space, MirroredBox)
    mirror = env.observation_space.mirror
    plain = [env.reset()[0]]
    plain += [env.step(action)[0] for action in actions(15)]
    mirrored = [env.reset()[0]]
    mirrored += [env.step(mirror.action(action))[0] for action in actions(15)]
    for seen, image in zip(plain, mirrored, strict=True):
        assert mirror.observation(seen) == pytest.approx(image, abs=1e-7)
    assert np.abs(plain[-1] - mirrored[-1]).max() > 0.01


def test_a_seed_gives_one_episode_to_the_bit_also_mid_way_and_in_a_new_process() -> None:
    env = Run(difficulty=2, preset="fast")
    kept = episode(env, 4)
    assert episode(env, 5) != kept
    env.reset()
    assert episode(env, 4) == kept
    assert episode(Run(difficulty=2, preset="fast"), 4) == kept
    new = subprocess.run(
        [sys.executable, "-c", EPISODE_IN_A_NEW_PROCESS], capture_output=True, text=True, check=True
    )
    assert bytes.fromhex(new.stdout) == kept
    assert new.stderr == ""


def test_obstacles_come_with_difficulty_1_and_psoas_strengths_with_2() -> None:
    drawn = {}
    for difficulty in (0, 1, 2):
        env = Run(difficulty=difficulty, preset="fast")
        observation, _ = env.reset(seed=3)
        drawn[difficulty] = env.obstacles
        assert len(env.obstacles) == (3 if difficulty else 0)
        assert observation[36:38].tolist() == list(env.strengths)
        assert (env.strengths == (1.0, 1.0)) == (difficulty < 2)
        if difficulty:
            first = env.obstacles[0]
            assert observation[38:].tolist() == [first.x, first.y, first.radius]
            observation, *_ = env.step(np.full(18, 0.5))
            assert observation[38:].tolist() == [first.x - observation[1], first.y, first.radius]
    assert drawn[1] == drawn[2], "obstacles of a seed are the same at both"


def test_only_the_psoas_are_weakened_and_from_their_full_strength_each_time() -> None:
    plain, env = Run(), Run(difficulty=2)
    full = _max_forces(plain)
    for seed in (1, 2, 1):
        env.reset(seed=seed)
        assert min(env.strengths) >= 0.5
        expected = full | {
            f"iliopsoas_{side}": full[f"iliopsoas_{side}"] * strength
            for side, strength in zip("lr", env.strengths, strict=True)
        }
        assert _max_forces(env) == expected


def _max_forces(env: Run) -> dict[str, float]:
    return {str(muscle.getName()): muscle.getMaxIsometricForce() for muscle in env.model.muscles}


def test_obstacles_lie_as_the_challenge_laid_them() -> None:
    rng = np.random.default_rng(0)
    many = [draw_obstacles(rng, 3) for _ in range(400)]
    for balls in many:
        assert balls == sorted(balls)
    xs, ys, radii = np.array(many).reshape(-1, 3).T
    assert xs.min() >= 1
    assert xs.max() <= 5
    assert xs.mean() == pytest.approx(3, abs=0.15)
    assert radii.min() >= 0.05
    assert radii.mean() == pytest.approx(0.1, abs=0.01)
    assert np.abs(ys / radii).max() <= 0.25
    far = draw_obstacles(rng, 10)[3:]
    gaps = np.diff([5.0, *(ball.x for ball in far)])
    assert ((gaps >= 2) & (gaps <= 4)).all()
    assert all(-0.05 <= ball.y / ball.radius <= 0.25 for ball in far)


def test_the_next_obstacle_is_the_first_that_is_not_behind() -> None:
    balls = [Obstacle(1.0, 0.0, 0.2), Obstacle(2.0, 0.0, 0.1)]
    assert next_obstacle(balls, 0.0) is balls[0]
    assert next_obstacle(balls, 1.2) is balls[0]
    assert next_obstacle(balls, 1.21) is balls[1]
    assert next_obstacle(balls, 2.2) is None


def test_a_foot_meets_an_obstacle_with_the_radius_it_is_said_to_have() -> None:
    course = ObstacleCourse(2)
    model = MuscleModel(osim_rl_folder() / "models" / "gait9dof18musc.osim", prepare=course.add_to)
    pushes = []
    for radius in (0.1, 0.2, 0.3):
        course.place([Obstacle(0.158, 0.0, radius)])
        model.rebuild()
        model.start()
        model.model.realizeDynamics(model.state)
        pushes.append(_push(model, "obstacle_0_force"))
        assert _push(model, "obstacle_1_force") == 0, "the ball that is not needed"
    # The toes' spheres, of 0.05 m, are 0.15 m ahead of the ball's centre and 0.09 m beside it.
    assert pushes[0] == 0
    assert 1e4 < pushes[1] < pushes[2]


def test_an_obstacle_is_felt_where_and_only_where_it_is_seen() -> None:
    plain = Run(difficulty=1)
    plain.reset(seed=1)
    ball = max(plain.obstacles, key=lambda obstacle: obstacle.radius)
    here = plain.obstacles.index(ball)
    env = Run(difficulty=1, pose={"pelvis_tx": ball.x})
    for seed, feels_it in ((1, True), (2, False), (1, True)):
        env.reset(seed=seed)
        env.model.model.realizeDynamics(env.model.state)
        pushes = [_push(env.model, f"obstacle_{i}_force") for i in range(3)]
        assert [push != 0 for push in pushes] == [feels_it and i == here for i in range(3)]


def _push(model: MuscleModel, force: str) -> Any:
    """Forward force on the ball: the runner's is its negative."""
    return model.model.getForceSet().get(force).getRecordValues(model.state).get(0)


def test_it_ends_when_the_pelvis_is_low_and_at_its_limit() -> None:
    low = Run(pose={"pelvis_ty": 0.5})
    low.reset()
    assert low.step(np.zeros(18))[2:4] == (True, False)
    short = Run(time_limit_steps=2)
    short.reset()
    ends = [short.step(action)[2:4] for action in actions(2)]
    assert ends == [(False, False), (False, True)]


def test_the_reward_is_the_way_that_the_pelvis_went_forward() -> None:
    env = Run(preset="fast")
    _, info = env.reset()
    total, start = 0.0, info["distance_m"]
    for action in actions():
        observation, reward, _, _, info = env.step(action)
        total += reward
        assert info["reward_terms"] == {"forward": reward}
    assert total == pytest.approx(info["distance_m"] - start)
    assert info["distance_m"] == observation[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"difficulty": 3}, "difficulty=3 of OpenSimRun-v0: expected 0 to 2"),
        ({"difficulty": 1, "num_obstacles": 0}, "num_obstacles=0 of OpenSimRun-v0: .* 1 to 20"),
        ({"difficulty": 1, "num_obstacles": 21}, "num_obstacles=21"),
        ({"difficulty": 1, "num_obstacles": 2.5}, "num_obstacles=2.5"),
        ({"observation": "orginal"}, "did you mean original"),
        ({"observation": 41}, "known: original, walk"),
    ],
)
def test_an_option_that_cannot_work_is_one_clear_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Run(**options)
    assert "\n" not in str(caught.value)
