"""An arm that reaches for a target in the sagittal plane, as a Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.opensim_env import OpenSimEnv, Pose, SimulationOptions, check_difficulty
from env.musculoskeletal.pose import posed
from errors import ConfigError

MODEL_FILE = "arm2dof6musc.osim"
TIME_LIMIT_STEPS = 200
OBSERVATION_SIZE = 16

_JOINTS = ("r_shoulder_elev", "r_elbow_flex")
_WRIST = "r_radius_styloid"
_TARGET_JOINT = "target-joint"


class Arm2D(OpenSimEnv):
    """``OpenSimArm2D-v0``: six muscles bring the wrist to a target within two seconds.

    Model, observation and reward are osim-rl 3.0.11's `Arm2DEnv` (https://osim-rl.kidzinski.com),
    read and advanced by our own adapter. One step is 0.01 s of simulated time.

    **Actions**: ``Box(0, 1, (6,), float32)``, the muscles' excitations; values outside are clipped,
    as in the original: triceps long, lateral and medial head (``TRIlong TRIlat TRImed``), biceps
    long and short head (``BIClong BICshort``), brachialis (``BRA``).

    **Observations**: ``Box(-inf, inf, (16,), float64)``.

    ====== ================================================================ ==========
    index  what                                                             unit
    ====== ================================================================ ==========
    0, 1   target in ground, x forward and y upward                         m
    2-4    shoulder elevation, its velocity and its acceleration            rad, s
    5-7    elbow flexion, its velocity and its acceleration                 rad, s
    8-13   activations by the muscles' names: BIClong, BICshort, BRA,       1
           TRIlat, TRIlong, TRImed
    14, 15 wrist in ground, x forward and y upward                          m
    ====== ================================================================ ==========

    **Reward** a step (osim-rl ``Arm2DEnv.reward``): ``1 - d**2`` with the distance d, m, from wrist
    to target in the plane. ``info["reward_terms"]`` has the summands ``alive`` (1) and ``distance``
    (``-d**2``); ``info["target_distance_m"]`` is d, ``info["distance_m"]`` how far forward the
    wrist is, ``info["time_s"]`` the simulated time.

    **Start**: the arm hangs at rest; the target is drawn from the reset's seed, uniformly by angle
    and radius: ``(r cos a, 0.8 - r sin a)``, a from 0 to 2 pi / 3, r from 0.3 to 0.65 m.
    **Termination**: never. **Truncation**: after ``time_limit_steps``.

    Args:
        difficulty: 0; there is no other.
        options: see `env.musculoskeletal.opensim_env.SimulationOptions`.

    Raises:
        ConfigError: an argument that cannot work.
        EnvUnavailable: opensim or osim-rl is not installed.

    Version history: v0, first.
    """

    def __init__(self, difficulty: int = 0, **options: Unpack[SimulationOptions]) -> None:
        check_difficulty(difficulty, range(1), "OpenSimArm2D-v0")
        self._pose: Mapping[str, float] | None = None
        super().__init__(MODEL_FILE, TIME_LIMIT_STEPS, options, _add_target)
        self.observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,), np.float64)
        self._arm = ArmState(self.model)
        joint = self.model.model.getJointSet().get(_TARGET_JOINT)
        self._target_x, self._target_y = joint.get_coordinates(1), joint.get_coordinates(2)
        self.target = (0.0, 0.0)

    @property
    def distance_m(self) -> float:
        """How far forward the wrist is."""
        return self._arm.wrist[0]

    @property
    def target_distance_m(self) -> float:
        """From wrist to target, in the plane."""
        return math.dist(self._arm.wrist, self.target)

    def _pose_of(self, pose: Mapping[str, float] | Sequence[float]) -> Pose:
        checked = super()._pose_of(pose)
        assert isinstance(pose, Mapping)
        if any(name.startswith(_TARGET_JOINT) for name in pose):
            raise ConfigError("pose: the seed says where the target is; name the arm's joints")
        self._pose = pose
        return checked

    def _arrange(self) -> None:
        # The original draws from Python's global generator, and after the observation of its reset,
        # which therefore shows the target of the episode before.
        angle = self.np_random.uniform(0.0, math.pi * 2 / 3)
        radius = self.np_random.uniform(0.3, 0.65)
        self.target = (math.cos(angle) * radius, 0.8 - math.sin(angle) * radius)
        self._target_x.setDefaultValue(self.target[0])
        self._target_y.setDefaultValue(self.target[1])
        self.model.rebuild()
        if self._pose is not None:
            # A pose holds all coordinates, the target's too.
            self._own_pose = posed(self.model, self._pose)

    def _start_pose(self) -> Pose:
        return None, None

    def _begin(self) -> None:
        return

    def _observe(self) -> NDArray[np.float64]:
        self._arm.read(self.model.state)
        return np.array([*self.target, *self._arm.values])

    def _has_ended(self) -> bool:
        return False

    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        wrist, target = self._arm.wrist, self.target
        penalty = (wrist[0] - target[0]) ** 2 + (wrist[1] - target[1]) ** 2
        return 1.0 - penalty, {"alive": 1.0, "distance": -penalty}

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"target_distance_m": self.target_distance_m}


class ArmState:
    """The arm as last read, through handles kept for life.

    Attributes:
        values: the observation's last 14; layout in `Arm2D`.
        wrist: in ground, x forward and y upward, m.
    """

    def __init__(self, model: MuscleModel) -> None:
        model.require("OpenSimArm2D-v0", coordinates=_JOINTS)
        coordinates = model.model.getCoordinateSet()
        self._model = model.model
        self._joints = [coordinates.get(name) for name in _JOINTS]
        self._muscles = sorted(model.muscles, key=lambda muscle: str(muscle.getName()))
        self._marker = model.model.getMarkerSet().get(_WRIST)
        self.values: list[float] = []
        self.wrist = (0.0, 0.0)

    def read(self, state: Any) -> None:
        """Fill the attributes from OpenSim's ``state``."""
        self._model.realizeAcceleration(state)
        place = self._marker.getLocationInGround(state)
        self.wrist = (place.get(0), place.get(1))
        self.values = []
        for joint in self._joints:
            self.values += (
                joint.getValue(state),
                joint.getSpeedValue(state),
                joint.getAccelerationValue(state),
            )
        self.values += [muscle.getActivation(state) for muscle in self._muscles]
        self.values += self.wrist


def _add_target(opensim: Any, model: Any) -> None:
    """A body that nothing touches, which can be seen; the original's, with its mass and joint: the
    integrator's steps depend on it, if by little.
    """
    body = opensim.Body("target", 0.0001, opensim.Vec3(0), opensim.Inertia(1, 1, 0.0001, 0, 0, 0))
    ball = opensim.Ellipsoid(0.02, 0.02, 0.02)
    ball.setColor(opensim.Vec3(0, 1, 0))
    body.attachGeometry(ball)
    joint = opensim.PlanarJoint(
        _TARGET_JOINT,
        model.getGround(),
        opensim.Vec3(0),
        opensim.Vec3(0),
        body,
        opensim.Vec3(0, 0, -0.25),
        opensim.Vec3(0),
    )
    # The body hangs in the air.
    joint.upd_coordinates(2).setDefaultLocked(True)
    model.addBody(body)
    model.addJoint(joint)
