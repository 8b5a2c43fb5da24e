"""The 2018 challenge, "AI for Prosthetics", as a Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from env.musculoskeletal.opensim_env import OpenSimEnv, Pose, SimulationOptions, check_difficulty
from env.musculoskeletal.patient import Patient, observation_size, patient_mirror
from errors import ConfigError
from policy.mirror import MirroredBox

MODEL_FILES = {
    (3, True): "gait14dof22musc_pros_20180507.osim",
    (3, False): "gait14dof22musc_20170320.osim",
    (2, True): "gait14dof22musc_planar_pros_20180507.osim",
    (2, False): "gait14dof22musc_planar_20170320.osim",
}
TIME_LIMIT_STEPS = (300, 1000)
FALLEN_BELOW_M = 0.6
ROUND1_SPEED_M_S = 3.0
FIRST_SPEED_M_S = 1.25
STEPS_BETWEEN_CHANGES = 300
MAX_CHANGES = 10
EFFORT_WEIGHT = 0.001


class Prosthetics(OpenSimEnv):
    """``OpenSimProsthetics-v0``: a body with a prosthetic right leg walks at a given velocity.

    The "AI for Prosthetics" challenge of NeurIPS 2018 (Kidziński et al., arXiv:1902.02441), both of
    its rounds. Models, observation, reward and termination are osim-rl 2.1.5's `ProstheticsEnv`,
    read and advanced by our own adapter. One step is 0.01 s of simulated time.

    **Actions**: ``Box(0, 1, (19,), float32)``, or ``(22,)`` without prosthesis: the muscles'
    excitations; values outside are clipped, as in the original. First the right leg, 8 or 11, then
    the left leg, 11, each in this order; the prosthetic leg ends with the vasti:

    === ========== ======================= === ======== =====================
    +i  name       muscle                  +i  name     muscle
    === ========== ======================= === ======== =====================
    0   abd        hip abductors           6   rect_fem rectus femoris
    1   add        hip adductors           7   vasti    vasti
    2   hamstrings hamstrings              8   gastroc  gastrocnemius
    3   bifemsh    biceps femoris, short   9   soleus   soleus
    4   glut_max   gluteus maximus         10  tib_ant  tibialis anterior
    5   iliopsoas  iliopsoas
    === ========== ======================= === ======== =====================

    **Observations**: ``Box(-inf, inf, (160,), float64)``, or ``(169,)`` without prosthesis; at
    difficulty 1 three more. All places are in ground: x forward, y upward, z to the right; an
    angle about z is that of a body-fixed rotation about x, then y, then z.

    ========= ============================================================ ============
    index     what                                                         unit
    ========= ============================================================ ============
    0-7       pelvis: y; velocity x, y; acceleration x, y; angle about z,  m, s, rad
              angular velocity and acceleration about z
    8-61      head, torso, left toes, right toes, left talus, right talus, m, s, rad
              nine numbers each: x and y from the pelvis'; velocity x, y;
              acceleration x, y; angle about z from the pelvis', angular
              velocity and acceleration about z. With the prosthesis right
              toes and right talus are 0.
    62-70     ankles, left then right, and the lumbar joint: angle,        rad, s
              angular velocity, angular acceleration of each
    71-88     hips, left then right: three angles (flexion, adduction,     rad, s
              rotation), three velocities, three accelerations
    89-94     knees, left then right: angle, velocity, acceleration        rad, s
    95-151    for each muscle, by the names with their side (``abd_l``,    1, m, m/s
    or -160   ``abd_r``, ``add_l`` ...): activation, fibre length, fibre
              velocity
    last 8    centre of mass: x and y from the pelvis'; velocity and       m, s
              acceleration, x, y, z each
    then      at difficulty 1: target velocity x, y (always 0), z          m/s
    ========= ============================================================ ============

    The target velocity is an extension: the original has it in its dictionary only, and a policy of
    numbers cannot follow what it does not see.

    **Symmetry**: without prosthesis, and with the challenge's own model, the observation space is a
    `policy.mirror.MirroredBox`.

    **Reward** a step, with the pelvis velocity v and the activations a of all muscles:

    - difficulty 0 (``reward_round1``): ``9 - (v_x - 3)**2``; ``info["reward_terms"]`` has ``alive``
      (9) and ``velocity``;
    - difficulty 1 (``reward_round2``): ``10 - sum((v - v_target)**2) - 0.001 sum(a**2)``, with the
      velocities along x and z; ``alive`` (10), ``effort``, ``velocity_forward`` and
      ``velocity_sideways``.

    ``info["distance_m"]`` is how far forward the pelvis is, ``info["time_s"]`` the simulated time.

    **Start**: standing, always the same. **Target**: at difficulty 1, 1.25 m/s forward; then, after
    numbers of steps that are Poisson with mean 300 each, speed and heading change by what is
    uniform in ±0.5 m/s and in ±pi/8, drawn from the reset's seed. **Termination**: pelvis below
    0.6 m. **Truncation**: after ``time_limit_steps``: 300 at difficulty 0, 1000 at difficulty 1.

    Args:
        difficulty: 0, the challenge's first round: 3 m/s forward; 1, its second: a velocity that
            changes in size and direction. (In 2D nothing can move sideways, and the part of the
            target that points there is charged all the same, as in the original.)
        dimensions: 3, or 2 for a model that keeps to the sagittal plane.
        prosthesis: whether the right leg ends in one; otherwise both legs have all their muscles.
        options: see `env.musculoskeletal.opensim_env.SimulationOptions`.

    Raises:
        ConfigError: an argument that cannot work.
        EnvUnavailable: opensim or osim-rl is not installed.

    Version history: v0, first.
    """

    def __init__(
        self,
        difficulty: int = 0,
        dimensions: int = 3,
        prosthesis: bool = True,
        **options: Unpack[SimulationOptions],
    ) -> None:
        self._difficulty = check_difficulty(difficulty, range(2), "OpenSimProsthetics-v0")
        if isinstance(dimensions, bool) or dimensions not in (2, 3):
            raise ConfigError(
                f"dimensions={dimensions!r} of OpenSimProsthetics-v0: expected 2 or 3"
            )
        if not isinstance(prosthesis, bool):
            raise ConfigError(
                f"prosthesis={prosthesis!r} of OpenSimProsthetics-v0: expected True or False"
            )
        super().__init__(
            MODEL_FILES[dimensions, prosthesis], TIME_LIMIT_STEPS[self._difficulty], options
        )
        self._patient = Patient(self.model, prosthesis=prosthesis)
        num_targets = 3 if self._difficulty else 0
        shape = (observation_size(len(self.model.muscles)) + num_targets,)
        if prosthesis or options.get("model") is not None:
            self.observation_space = spaces.Box(-np.inf, np.inf, shape, np.float64)
        else:
            mirror = patient_mirror(num_targets)
            self.observation_space = MirroredBox(-np.inf, np.inf, shape, np.float64, mirror=mirror)
        self.targets_tv: NDArray[np.float64] = np.zeros((0, 3))

    @property
    def distance_m(self) -> float:
        """How far forward the pelvis is."""
        return self._patient.position[0]

    def _start_pose(self) -> Pose:
        return None, None

    def _begin(self) -> None:
        if self._difficulty:
            self.targets_tv = draw_targets(self.np_random, self._time_limit_steps + 1)

    def _observe(self) -> NDArray[np.float64]:
        values = self._patient.read(self.model.state)
        return np.array([*values, *self._target()] if self._difficulty else values)

    def _target(self) -> list[float]:
        """The velocity to have now; beyond the time limit that of its end."""
        step = min(self.model.num_steps, len(self.targets_tv) - 1)
        target: list[float] = self.targets_tv[step].tolist()
        return target

    def _has_ended(self) -> bool:
        return self._patient.position[1] < FALLEN_BELOW_M

    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        velocity = self._patient.velocity
        if self._difficulty == 0:
            miss = (velocity[0] - ROUND1_SPEED_M_S) ** 2
            return 9.0 - miss, {"alive": 9.0, "velocity": -miss}
        return _round2_reward(velocity, self._target(), self._patient.activations)


def draw_targets(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """``(count, 3)`` float64: the velocity to have at each step, m/s, x forward and z to the right.

    As osim-rl 2.1.5's ``generate_new_targets``, which draws from the global generators of Python
    and numpy, and leaves them as they are for seed 0.
    """
    changes = np.cumsum(rng.poisson(STEPS_BETWEEN_CHANGES, MAX_CHANGES))
    speed, heading = np.full(count, FIRST_SPEED_M_S), np.zeros(count)
    for step in np.unique(changes[(changes > 0) & (changes < count)]):
        speed[step:] += rng.uniform(-0.5, 0.5)
        heading[step:] += rng.uniform(-math.pi / 8, math.pi / 8)
    return np.stack((speed * np.cos(heading), np.zeros(count), speed * np.sin(heading)), axis=1)


def _round2_reward(
    velocity: Sequence[float], target: Sequence[float], activations: Sequence[float]
) -> tuple[float, dict[str, float]]:
    effort = float(np.sum(np.array(activations) ** 2)) * EFFORT_WEIGHT
    forward, sideways = (velocity[0] - target[0]) ** 2, (velocity[2] - target[2]) ** 2
    terms = {
        "alive": 10.0,
        "effort": -effort,
        "velocity_forward": -forward,
        "velocity_sideways": -sideways,
    }
    return 10.0 - (effort + forward + sideways), terms
