"""What a walker's observation and reward need, read from OpenSim through handles kept for life.

osim-rl 3.0.11 (``compute_state_desc``, ``L2M2019Env.get_observation``) looks every component up by
name and reads all of joints, bodies, markers, forces and the centre of mass, 2 ms a step; this
reads the 97 numbers that are used, to the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel

LEGS = ("r", "l")
MUSCLES = {
    "HAB": "abd",
    "HAD": "add",
    "HFL": "iliopsoas",
    "GLU": "glut_max",
    "HAM": "hamstrings",
    "RF": "rect_fem",
    "VAS": "vasti",
    "BFSH": "bifemsh",
    "GAS": "gastroc",
    "SOL": "soleus",
    "TA": "tib_ant",
}
"""Muscles of a leg: short name (Song and Geyer 2015) to the model's, in the observation's and the
action's order, right leg first.
"""

WALKER_MASS_KG = 75.16460000000001
"""As osim-rl states it; forces are normalised by it."""
GRAVITY_M_S2 = 9.80665

LEG_SIZE = 3 + 4 + 4 + 3 * len(MUSCLES)
BODY_SIZE = 9 + 2 * LEG_SIZE

_PELVIS_ANGLES = ("tilt", "list", "rotation")
_PELVIS_PLACE = ("tx", "ty", "tz")
_JOINT_COORDINATES = ("hip_adduction", "hip_flexion", "knee_angle", "ankle_angle")
_JOINT_SIGNS = np.array([-1.0, -1.0, 1.0, -1.0])


def require_walker(model: MuscleModel, reader: str) -> None:
    """Make sure that ``model`` has the parts, by osim-rl's names, that a walker's observation,
    reward and start pose need.

    Raises:
        ConfigError: it lacks some; the message names them, and ``reader``, who needs them.
    """
    model.require(
        reader,
        bodies=["pelvis"],
        coordinates=[
            *(f"pelvis_{name}" for name in _PELVIS_ANGLES + _PELVIS_PLACE),
            *(f"{name}_{side}" for side in LEGS for name in _JOINT_COORDINATES),
        ],
        forces=[f"foot_{side}" for side in LEGS],
        muscles=[f"{name}_{side}" for side in LEGS for name in MUSCLES.values()],
    )


class WalkerState:
    """The walker as last read.

    Attributes:
        body: ``(97,)`` float64, the observation but for the velocity field; layout in `Walk2D`.
        position: pelvis in ground: x forward, y up, z right, m.
        velocity: of the pelvis in ground, the same axes, m/s.
        yaw: of the pelvis, rad, positive to the left.
        load: force of the ground on right and left foot, upward, N.
        activations: of all muscles, sorted by the model's names.

    Args:
        model: one that passes `require_walker`.
    """

    def __init__(self, model: MuscleModel) -> None:
        coordinates = model.model.getCoordinateSet()
        forces = model.model.getForceSet()
        muscles = model.model.getMuscles()
        self._model = model.model
        self._pelvis = model.model.getBodySet().get("pelvis")
        self._tilt, self._list, self._rotation = (
            coordinates.get(f"pelvis_{name}") for name in _PELVIS_ANGLES
        )
        self._feet = [forces.get(f"foot_{side}") for side in LEGS]
        self._joints = [
            coordinates.get(f"{name}_{side}") for side in LEGS for name in _JOINT_COORDINATES
        ]
        self._muscles = [
            muscles.get(f"{name}_{side}") for side in LEGS for name in MUSCLES.values()
        ]
        self._max_force = [muscle.getMaxIsometricForce() for muscle in self._muscles]
        self._optimal_length = [muscle.getOptimalFiberLength() for muscle in self._muscles]
        self._by_name = sorted(model.muscles, key=lambda muscle: str(muscle.getName()))
        self._weight_n = WALKER_MASS_KG * GRAVITY_M_S2
        self.body: NDArray[np.float64] = np.zeros(BODY_SIZE)
        self.position = self.velocity = (0.0, 0.0, 0.0)
        self.yaw = 0.0
        self.load = (0.0, 0.0)
        self.activations: list[float] = []

    def read(self, state: Any) -> None:
        """Fill the attributes from OpenSim's ``state``."""
        # Forces and muscle dynamics are known at this stage; no acceleration is observed.
        self._model.realizeDynamics(state)
        position = self._pelvis.getPositionInGround(state)
        velocity = self._pelvis.getVelocityInGround(state).get(1)
        self.position = (position.get(0), position.get(1), position.get(2))
        self.velocity = (velocity.get(0), velocity.get(1), velocity.get(2))
        self.yaw = self._rotation.getValue(state)
        self.activations = [muscle.getActivation(state) for muscle in self._by_name]
        self._read_pelvis(state)
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        loads = []
        for leg, foot in enumerate(self._feet):
            record = foot.getRecordValues(state)
            # The record opens with the force on the ground, so the walker's is its negative.
            forward = -(record.get(0) / self._weight_n)
            right = -(record.get(2) / self._weight_n)
            upward = -(record.get(1) / self._weight_n)
            first = 9 + leg * LEG_SIZE
            outward = sine * forward + cosine * right
            self.body[first] = cosine * forward - sine * right
            self.body[first + 1] = outward if leg == 0 else -outward
            self.body[first + 2] = upward
            loads.append(-record.get(1))
            self._read_leg(state, leg, first + 3)
        self.load = (loads[0], loads[1])

    def _read_pelvis(self, state: Any) -> None:
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        forward, upward, right = self.velocity
        self.body[:9] = (
            self.position[1],
            -self._tilt.getValue(state),
            self._list.getValue(state),
            cosine * forward - sine * right,
            -(sine * forward + cosine * right),
            upward,
            -self._tilt.getSpeedValue(state),
            self._list.getSpeedValue(state),
            self._rotation.getSpeedValue(state),
        )

    def _read_leg(self, state: Any, leg: int, first: int) -> None:
        joints = self._joints[4 * leg : 4 * leg + 4]
        angles = [joint.getValue(state) for joint in joints]
        speeds = [joint.getSpeedValue(state) for joint in joints]
        self.body[first : first + 4] = angles * _JOINT_SIGNS
        self.body[first + 4 : first + 8] = speeds * _JOINT_SIGNS
        count = len(MUSCLES)
        values: list[float] = []
        for i in range(leg * count, (leg + 1) * count):
            muscle, length = self._muscles[i], self._optimal_length[i]
            values += (
                muscle.getFiberForce(state) / self._max_force[i],
                muscle.getFiberLength(state) / length,
                muscle.getFiberVelocity(state) / length,
            )
        self.body[first + 8 : first + 8 + 3 * count] = values
