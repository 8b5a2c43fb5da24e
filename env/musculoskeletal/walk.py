"""What the 2019 walk-around's two environments have in common; data sheets: `walk2d`, `walk3d`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.opensim_env import OpenSimEnv, Pose, SimulationOptions, check_difficulty
from env.musculoskeletal.pose import default_state, places
from env.musculoskeletal.reward import FootstepReward
from env.musculoskeletal.state import (
    BODY_SIZE,
    LEG_SIZE,
    LEGS,
    MUSCLES,
    WalkerState,
    require_walker,
)
from env.musculoskeletal.velocity_field import (
    COURSES,
    FIELD_SHAPE,
    FIELD_SIZE,
    ConstantField,
    SinkField,
    VelocityField,
)
from errors import ConfigError
from policy.mirror import Mirror, MirroredBox

DIFFICULTIES = range(4)
TIME_LIMIT_STEPS = 1000
HARDEST_TIME_LIMIT_STEPS = 2500
FALLEN_BELOW_M = 0.6
OBSERVATION_SIZE = FIELD_SIZE + BODY_SIZE
ACTION_SIZE = len(LEGS) * len(MUSCLES)

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

# The model's coordinate for each entry of a pose after its two speeds, and the sign it takes there
# (osim-rl, ``L2M2019Env.reset``).
_POSE_COORDINATES = (
    ("pelvis_ty", 1),
    ("pelvis_tilt", -1),
    *(
        (f"{name}_{side}", sign)
        for side in LEGS
        for name, sign in (
            ("hip_adduction", -1),
            ("hip_flexion", -1),
            ("knee_angle", 1),
            ("ankle_angle", -1),
        )
    ),
)
_FORWARD, _RIGHTWARD = "pelvis_tx", "pelvis_tz"


class Walk(OpenSimEnv):
    """A walker, a velocity field to follow, and the reward of one of the challenge's two rounds.

    Args:
        name: the environment's, for messages.
        file: its model, among osim-rl's.
        difficulty: 0 to 3.
        options: see `SimulationOptions`.
    """

    def __init__(self, name: str, file: str, difficulty: int, options: SimulationOptions) -> None:
        check_difficulty(difficulty, DIFFICULTIES, name)
        hardest = difficulty == DIFFICULTIES[-1]
        self._name = name
        super().__init__(file, HARDEST_TIME_LIMIT_STEPS if hardest else TIME_LIMIT_STEPS, options)
        self._walker = WalkerState(self.model)
        self._start = _start(self.model, START_POSE)
        self.observation_space = MirroredBox(
            -np.inf, np.inf, (OBSERVATION_SIZE,), np.float64, mirror=walk_mirror()
        )
        self._field: VelocityField = (
            SinkField(COURSES[difficulty]) if difficulty in COURSES else ConstantField()
        )
        self._reward = FootstepReward(challenge_round=2 if hardest else 1)
        self._observation = np.zeros(OBSERVATION_SIZE)
        self._local_field = self._observation[:FIELD_SIZE].reshape(FIELD_SHAPE)
        self._target = (0.0, 0.0)
        self._reached = self._reached_before = False

    @property
    def distance_m(self) -> float:
        """How far forward the pelvis is."""
        return self._walker.position[0]

    def _pose_of(self, pose: Mapping[str, float] | Sequence[float]) -> Pose:
        return super()._pose_of(pose) if isinstance(pose, Mapping) else _start(self.model, pose)

    def _action_order(self) -> NDArray[np.intp]:
        return _action_order(self.model, self._name)

    def _start_pose(self) -> Pose:
        return self._start

    def _begin(self) -> None:
        self._reward.reset()
        self._field.reset(self.np_random)
        self._reached = self._reached_before = False

    def _observe(self) -> NDArray[np.float64]:
        walker = self._walker
        walker.read(self.model.state)
        x, y = walker.position[0], -walker.position[2]
        pose = (x, y, walker.yaw)
        # A step is rewarded by the field that the walker saw before it; so is a target reached.
        self._target = self._field.at(x, y)
        self._reached_before = self._reached
        self._reached = self._field.update(pose)
        self._observation[FIELD_SIZE:] = walker.body
        self._field.write_local(pose, self._local_field)
        return self._observation.copy()

    def _has_ended(self) -> bool:
        return self._walker.position[1] < FALLEN_BELOW_M

    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        walker = self._walker
        reward = self._reward.step(
            walker.activations,
            (walker.velocity[0], -walker.velocity[2]),
            self._target,
            succeeded=succeeded,
            reached=self._reached_before,
        )
        self._reward.observe_contact(walker.load)
        return reward, self._reward.terms


def walk_mirror() -> Mirror:
    """Left and right in the walk-around's observation and actions; layout in `Walk2D`."""
    field = np.arange(FIELD_SIZE).reshape(FIELD_SHAPE)[:, :, ::-1]  # the last axis is leftward
    legs = FIELD_SIZE + BODY_SIZE - 2 * LEG_SIZE
    index = np.arange(OBSERVATION_SIZE)
    index[:FIELD_SIZE] = field.ravel()
    index[legs : legs + LEG_SIZE] += LEG_SIZE
    index[legs + LEG_SIZE :] -= LEG_SIZE
    sign = np.ones(OBSERVATION_SIZE)
    sign[FIELD_SIZE // 2 : FIELD_SIZE] = -1
    # Roll, leftward velocity, and the velocities of roll and yaw. The legs' numbers are outward.
    sign[[FIELD_SIZE + place for place in (2, 4, 7, 8)]] = -1
    half = ACTION_SIZE // 2
    return Mirror(index.tolist(), sign.tolist(), range(half), range(half, ACTION_SIZE))


def _start(model: MuscleModel, pose: Sequence[float]) -> Pose:
    """Generalised coordinates and speeds of a pose as `POSE_NAMES`."""
    try:
        values = np.asarray(pose, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (len(POSE_NAMES),) or not np.isfinite(values).all():
        raise ConfigError(
            f"pose={pose!r}: expected {len(POSE_NAMES)} finite numbers: {', '.join(POSE_NAMES)}"
        )
    index = places(model)
    q, u = default_state(model)
    u = [0.0] * len(u)
    u[index[_FORWARD]], u[index[_RIGHTWARD]] = values[:2].tolist()
    for (name, sign), value in zip(_POSE_COORDINATES, values[2:].tolist(), strict=True):
        q[index[name]] = sign * value
    return q, u


def _action_order(model: MuscleModel, reader: str) -> NDArray[np.intp]:
    """For each muscle of the model, its place in the action."""
    require_walker(model, reader)
    names = [f"{name}_{side}" for side in LEGS for name in MUSCLES.values()]
    place = {name: i for i, name in enumerate(names)}
    more = [name for muscle in model.muscles if (name := str(muscle.getName())) not in place]
    if more:
        raise ConfigError(
            f"model {model.path.name} has muscles that {reader}'s action has no place for: "
            f"{', '.join(more)}; OpenSimModel-v0 takes any model"
        )
    return np.array([place[str(muscle.getName())] for muscle in model.muscles])
