"""The 2017 challenge, "Learning to Run", as a Gymnasium environment."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.obstacles import (
    FIRST_BALLS,
    MAX_BALLS,
    Obstacle,
    ObstacleCourse,
    draw_obstacles,
    next_obstacle,
)
from env.musculoskeletal.opensim_env import OpenSimEnv, Pose, SimulationOptions, check_difficulty
from env.musculoskeletal.runner import (
    ORIGINAL_SIZE,
    Runner,
    original_mirror,
    runners_walk_mirror,
)
from env.musculoskeletal.state import LEGS, MUSCLES
from env.musculoskeletal.velocity_field import FIELD_SIZE
from env.musculoskeletal.walk import OBSERVATION_SIZE as WALK_SIZE
from errors import ConfigError, did_you_mean
from policy.mirror import MirroredBox

MODEL_FILE = "gait9dof18musc.osim"
TIME_LIMIT_STEPS = 1000
FALLEN_BELOW_M = 0.6
OBSERVATIONS = {
    "original": (ORIGINAL_SIZE, original_mirror),
    "walk": (WALK_SIZE, runners_walk_mirror),
}
NO_OBSTACLE = Obstacle(100.0, 0.0, 0.0)

_NINE_MUSCLES = ("HAM", "BFSH", "GLU", "HFL", "RF", "VAS", "GAS", "SOL", "TA")
"""Of a leg of the 2017 model, in its order; see `env.musculoskeletal.state.MUSCLES`."""

_PSOAS = ("iliopsoas_l", "iliopsoas_r")


class Run(OpenSimEnv):
    """``OpenSimRun-v0``: 18 muscles, two legs and a trunk run as far as they can, in a plane.

    The "Learning to Run" challenge of NIPS 2017 (Kidziński et al., arXiv:1804.00198). Model, reward
    and termination are osim-rl 2.1.5's `L2RunEnv`; obstacles, strengths and the observation's
    layout, which that version lost, are the challenge's own (osim-rl 1.x, ``osim/env/run.py``). One
    step is 0.01 s of simulated time.

    **Actions**: ``Box(0, 1, (18,), float32)``, the muscles' excitations; values outside are
    clipped, as in the original. Right leg 0 to 8, left leg 9 to 17, each in this order:

    === ========== ======================= === ======== =====================
    +i  name       muscle                  +i  name     muscle
    === ========== ======================= === ======== =====================
    0   hamstrings hamstrings              5   vasti    vasti
    1   bifemsh    biceps femoris, short   6   gastroc  gastrocnemius
    2   glut_max   gluteus maximus         7   soleus   soleus
    3   iliopsoas  iliopsoas               8   tib_ant  tibialis anterior
    4   rect_fem   rectus femoris
    === ========== ======================= === ======== =====================

    **Observations**: ``original``, ``Box(-inf, inf, (41,), float64)``. Places are in ground, x
    forward and y upward; angles as the model has them: hip and ankle flexion and knee extension
    positive, pelvis leaning backward positive.

    ====== ================================================================ ===========
    index  what                                                             unit
    ====== ================================================================ ===========
    0-2    pelvis: rotation, x, y                                           rad, m
    3-5    their velocities                                                 rad/s, m/s
    6-8    right leg: hip, knee, ankle                                      rad
    9-11   left leg                                                         rad
    12-17  their velocities, right leg and left                             rad/s
    18, 19 centre of mass: x, y                                             m
    20, 21 its velocity                                                     m/s
    22-27  head, pelvis, torso: x, y of each                                m
    28-35  left toes, right toes, left talus, right talus: x, y of each     m
    36, 37 strength of left and of right psoas                              of the full
    38-40  next obstacle: x ahead of the pelvis, y, radius; 100, 0, 0 where m
           there is none
    ====== ================================================================ ===========

    osim-rl 2.1.5 declares 41 numbers and returns 43: it has pelvis first too, then angle and
    velocity in turns of left and right hip, knee and ankle; bodies; centre of mass and its velocity
    with their z; and five zeros where strengths and obstacle were. Every number that both have is
    the same here, at the challenge's place.

    Or ``walk``, ``Box(-inf, inf, (339,), float64)``: the 2019 walk-around's layout (see
    `env.musculoskeletal.walk2d.Walk2D`), which policy ``reflex`` reads; ground reactions in this
    model's own weight, 781 N, and 0 for what it has not: the velocity field, the muscles HAB and
    HAD, and all that leaves the plane but for the feet's sideward force. Strengths and obstacles
    are not in it.

    **Symmetry**: the observation space is a `policy.mirror.MirroredBox`, either way.

    **Reward** a step (osim-rl 2.1.5 ``L2RunEnv.reward``): how far forward the pelvis came, m. The
    challenge took off 1e-7 times the root of the ligaments' summed squared torques, which 2.1.5
    does not. ``info["reward_terms"]`` has ``forward``; ``info["distance_m"]`` is how far forward
    the pelvis is, ``info["time_s"]`` the simulated time.

    **Start**: standing, always the same. Obstacles and strengths are drawn from the reset's seed.
    **Termination**: pelvis below 0.6 m, as in 2.1.5; 0.65 m in the challenge. **Truncation**: after
    ``time_limit_steps``: 1000, as in 2.1.5; the challenge's first versions had 500.

    Args:
        difficulty: 0: nothing in the way, no randomness; 1: obstacles on the ground, balls that the
            feet cannot pass (`env.musculoskeletal.obstacles`); 2: also each psoas with a strength
            of its own, normal around 1 with standard deviation 0.1, at least 0.5.
        num_obstacles: at difficulty 1 and 2, 1 to 20. The challenge had 3.
        observation: ``original`` or ``walk``.
        options: see `env.musculoskeletal.opensim_env.SimulationOptions`.

    Raises:
        ConfigError: an argument that cannot work.
        EnvUnavailable: opensim or osim-rl is not installed.

    Version history: v0, first.
    """

    def __init__(
        self,
        difficulty: int = 0,
        num_obstacles: int = FIRST_BALLS,
        observation: str = "original",
        **options: Unpack[SimulationOptions],
    ) -> None:
        self._difficulty = check_difficulty(difficulty, range(3), "OpenSimRun-v0")
        if observation not in OBSERVATIONS:
            raise ConfigError(
                f"observation={observation!r} of OpenSimRun-v0"
                f"{did_you_mean(str(observation), OBSERVATIONS)}; known: {', '.join(OBSERVATIONS)}"
            )
        self._num_obstacles = _checked_count(num_obstacles) if difficulty else 0
        self._course = ObstacleCourse(self._num_obstacles)
        super().__init__(MODEL_FILE, TIME_LIMIT_STEPS, options, self._course.add_to)
        size, mirror = OBSERVATIONS[observation]
        self.observation_space = MirroredBox(-np.inf, np.inf, (size,), np.float64, mirror=mirror())
        self._is_original = observation == "original"
        self._runner = Runner(self.model)
        muscles = self.model.model.getMuscles()
        self._psoas = [muscles.get(name) for name in _PSOAS]
        self._full_strength = [muscle.getMaxIsometricForce() for muscle in self._psoas]
        self._last_x = 0.0
        self.obstacles: list[Obstacle] = []
        self.strengths = (1.0, 1.0)

    def _action_order(self) -> NDArray[np.intp]:
        """That of the 2017 model, or of the walk-around models, for models of the same muscles in
        whatever order; any other model's own.
        """
        names = [str(muscle.getName()) for muscle in self.model.muscles]
        for muscles in (_NINE_MUSCLES, MUSCLES):
            known = [f"{MUSCLES[muscle]}_{side}" for side in LEGS for muscle in muscles]
            if set(known) == set(names):
                return np.array([known.index(name) for name in names])
        return super()._action_order()

    @property
    def distance_m(self) -> float:
        """How far forward the pelvis is."""
        return self._runner.x

    def _arrange(self) -> None:
        if self._difficulty == 0:
            return
        self.obstacles = draw_obstacles(self.np_random, self._num_obstacles)
        self._course.place(self.obstacles)
        if self._difficulty == 2:
            left, right = np.maximum(0.5, self.np_random.normal(1.0, 0.1, 2)).tolist()
            self.strengths = (left, right)
            # osim-rl 1.x takes for the left psoas muscle 11, which is the left gluteus maximus.
            for muscle, full, strength in zip(
                self._psoas, self._full_strength, self.strengths, strict=True
            ):
                muscle.setMaxIsometricForce(full * strength)
        self.model.rebuild()
        # Who draws knows the balls of the episode before.
        self.close()

    def _start_pose(self) -> Pose:
        return None, None

    def _begin(self) -> None:
        return

    def _observe(self) -> NDArray[np.float64]:
        state = self.model.state
        self._last_x = self._runner.x
        self._runner.read_pelvis(state)
        if not self._is_original:
            return np.concatenate((np.zeros(FIELD_SIZE), self._runner.walk_body(state)))
        x = self._runner.x
        ball = next_obstacle(self.obstacles, x)
        seen = NO_OBSTACLE if ball is None else ball._replace(x=ball.x - x)
        return np.array([*self._runner.original_body(state), *self.strengths, *seen])

    def _has_ended(self) -> bool:
        return self._runner.pelvis_height < FALLEN_BELOW_M

    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        forward = self._runner.x - self._last_x
        return forward, {"forward": forward}


def _checked_count(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_BALLS:
        raise ConfigError(
            f"num_obstacles={count!r} of OpenSimRun-v0: expected an integer from 1 to {MAX_BALLS}"
        )
    return count
