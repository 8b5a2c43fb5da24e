"""The 2019 walk-around model in the sagittal plane, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.opensim_env import OpenSimEnv, Pose, SimulationOptions, check_difficulty
from env.musculoskeletal.reward import FootstepReward
from env.musculoskeletal.state import BODY_SIZE, MUSCLES, WalkerState
from env.musculoskeletal.velocity_field import FIELD_SHAPE, FIELD_SIZE, ConstantField
from errors import ConfigError

MODEL_FILE = "gait14dof22musc_planar_20170320.osim"
TIME_LIMIT_STEPS = 1000
FALLEN_BELOW_M = 0.6

START_POSE = (
    *(1.7, 0.5, 0.9023, 0.2012),
    *(0.0, -0.6952, -0.3231, 0.1709),
    *(0.0, -0.0528, -0.8042, -0.1745),
)
POSE_NAMES = (
    *("forward speed", "rightward speed", "pelvis height", "trunk lean"),
    *("right hip adduction", "right hip", "right knee", "right ankle"),
    *("left hip adduction", "left hip", "left knee", "left ankle"),
)

# Index in OpenSim's q of each entry of a pose after its two speeds, and the sign it takes there
# (osim-rl, ``L2M2019Env.reset``). The rest of q is the model's own default or zero.
_POSE_Q = (
    (4, 1),
    (0, -1),
    (7, -1),
    (6, -1),
    (13, 1),
    (15, -1),
    (10, -1),
    (9, -1),
    (14, 1),
    (16, -1),
)
_FORWARD_Q, _RIGHTWARD_Q = 3, 5


class Walk2D(OpenSimEnv):
    """``OpenSimWalk2D-v0``: 22 muscles, two legs and a trunk walk in a plane for ten seconds.

    The "Learn to Move: Walk Around" challenge of NeurIPS 2019, model in 2D, difficulty 0: go
    straight ahead at 1.4 m/s. Model, observation and reward are osim-rl 3.0.11's `L2M2019Env`
    (https://osim-rl.kidzinski.com), read and advanced by our own adapter; the comments in this
    folder say what had to be corrected. One step is 0.01 s of simulated time.

    **Actions**: ``Box(0, 1, (22,), float32)``, the muscles' excitations; values outside are
    clipped, as in the original. Right leg 0 to 10, left leg 11 to 21, each in this order:

    === ======== ========================== === ======== ==========================
    +i  name     muscle                     +i  name     muscle
    === ======== ========================== === ======== ==========================
    0   HAB      hip abductors              6   VAS      vasti
    1   HAD      hip adductors              7   BFSH     biceps femoris, short head
    2   HFL      iliopsoas                  8   GAS      gastrocnemius
    3   GLU      gluteus maximus            9   SOL      soleus
    4   HAM      hamstrings                 10  TA       tibialis anterior
    5   RF       rectus femoris
    === ======== ========================== === ======== ==========================

    **Observations**: ``Box(-inf, inf, (339,), float64)``. The last column is the range that the
    original declares, without keeping to it.

    ========== ====================================================== ========= ==============
    index      what                                                   unit      nominal
    ========== ====================================================== ========= ==============
    0-120      target velocity field, forward, 11 by 11 points over   m/s       -10 to 10
               10 m by 10 m around the pelvis, in its frame
    121-241    the same, leftward                                     m/s       -10 to 10
    242        pelvis height                                          m         0 to 3
    243        pelvis pitch, forward positive                         rad       -pi to pi
    244        pelvis roll, to the right positive                     rad       -pi to pi
    245-247    pelvis velocity: forward, leftward, upward             m/s       -20 to 20
    248-250    pelvis angular velocity: pitch, roll, yaw              rad/s     -10 pi to 10 pi
    251-253    right leg: ground reaction forward, rightward, upward  weight    -5 to 10
    254-257    joint angles: hip abduction, hip, knee, ankle;         rad       -pi to pi/2
               extension positive
    258-261    their velocities                                       rad/s     -5 pi to 5 pi
    262-294    for each of the 11 muscles in the order of actions:
               force / maximum isometric force,                       1         0 to 3
               length / optimal fibre length,                         1         0 to 3
               velocity / optimal fibre length                        1/s       -50 to 50
    295-338    left leg, the same 44 (second force leftward)
    ========== ====================================================== ========= ==============

    **Reward** a step (osim-rl ``get_reward_1``; Song et al., J. NeuroEng. Rehabil. 18:126, 2021)::

        0.1
        + at a new footstep: 10 t - |integral of (v - v_target) dt| - integral of sum(a^2) dt
        + 10 at the time limit, standing

    over the t seconds since the footstep before, with the pelvis velocity v in the ground plane
    and the muscles' activations a. ``info["reward_terms"]`` has the summands as ``alive``,
    ``footstep``, ``velocity``, ``effort`` and ``bonus``; ``info["distance_m"]`` how far forward the
    pelvis is, ``info["time_s"]`` the simulated time.

    **Start**: mid-stride at 1.7 m/s (`START_POSE`), always the same: the environment is
    deterministic and seeds change nothing. **Termination**: pelvis below 0.6 m. **Truncation**:
    after ``time_limit_steps``.

    Args:
        difficulty: 0.
        options: see `env.musculoskeletal.opensim_env.SimulationOptions`; ``pose`` may also be
            twelve numbers as `POSE_NAMES`, SI and rad, forward lean and extension positive as in
            osim-rl's ``init_pose``; `START_POSE` by default.

    Raises:
        ConfigError: an argument that cannot work.
        EnvUnavailable: opensim or osim-rl is not installed.

    Version history: v0, first.
    """

    def __init__(self, difficulty: int = 0, **options: Unpack[SimulationOptions]) -> None:
        check_difficulty(difficulty, range(1), "OpenSimWalk2D-v0")
        super().__init__(MODEL_FILE, TIME_LIMIT_STEPS, options)
        self._start = _start(START_POSE)
        self.observation_space = spaces.Box(-np.inf, np.inf, (FIELD_SIZE + BODY_SIZE,), np.float64)
        self._walker = WalkerState(self.model)
        self._field = ConstantField()
        self._reward = FootstepReward()
        self._observation = np.zeros(FIELD_SIZE + BODY_SIZE)
        self._local_field = self._observation[:FIELD_SIZE].reshape(FIELD_SHAPE)

    @property
    def distance_m(self) -> float:
        """How far forward the pelvis is."""
        return self._walker.position[0]

    def _pose_of(self, pose: Mapping[str, float] | Sequence[float]) -> Pose:
        return super()._pose_of(pose) if isinstance(pose, Mapping) else _start(pose)

    def _action_order(self) -> NDArray[np.intp]:
        return _action_order(self.model)

    def _start_pose(self) -> Pose:
        return self._start

    def _begin(self) -> None:
        self._reward.reset()

    def _observe(self) -> NDArray[np.float64]:
        walker = self._walker
        walker.read(self.model.state)
        self._observation[FIELD_SIZE:] = walker.body
        pose = (walker.position[0], -walker.position[2], walker.yaw)
        self._field.write_local(pose, self._local_field)
        return self._observation.copy()

    def _has_ended(self) -> bool:
        return self._walker.position[1] < FALLEN_BELOW_M

    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        walker = self._walker
        reward = self._reward.step(
            walker.activations,
            (walker.velocity[0], -walker.velocity[2]),
            self._field.at(walker.position[0], -walker.position[2]),
            succeeded=succeeded,
        )
        self._reward.observe_contact(walker.load)
        return reward, self._reward.terms


def _start(pose: Sequence[float]) -> Pose:
    """Generalised coordinates and speeds, 17 each, of a pose as `POSE_NAMES`."""
    values = np.asarray(pose, dtype=np.float64)
    if values.shape != (len(POSE_NAMES),) or not np.isfinite(values).all():
        raise ConfigError(
            f"pose={pose!r}: expected {len(POSE_NAMES)} finite numbers: {', '.join(POSE_NAMES)}"
        )
    q, u = [0.0] * 17, [0.0] * 17
    u[_FORWARD_Q], u[_RIGHTWARD_Q] = values[0], values[1]
    for (index, sign), value in zip(_POSE_Q, values[2:].tolist(), strict=True):
        q[index] = sign * value
    return q, u


def _action_order(model: MuscleModel) -> NDArray[np.intp]:
    """For each muscle of the model, its place in the action."""
    place = {
        f"{name}_{side}": leg * len(MUSCLES) + i
        for leg, side in enumerate("rl")
        for i, name in enumerate(MUSCLES.values())
    }
    return np.array([place[muscle.getName()] for muscle in model.muscles])
