"""What is observed of the 2018 models, read from OpenSim through handles kept for life.

osim-rl 2.1.5 (``compute_state_desc``, ``ProstheticsEnv.get_observation``) looks up and reads every
joint, body, marker, force and muscle; this reads the numbers that are used, to the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from env.musculoskeletal.model import MuscleModel
from policy.mirror import Mirror

LEG_MUSCLES = 11

_BODIES = ("head", "torso", "toes_l", "toes_r", "talus_l", "talus_r")
_JOINTS = (
    ("ankle_angle_l",),
    ("ankle_angle_r",),
    ("lumbar_extension",),
    ("hip_flexion_l", "hip_adduction_l", "hip_rotation_l"),
    ("hip_flexion_r", "hip_adduction_r", "hip_rotation_r"),
    ("knee_angle_l",),
    ("knee_angle_r",),
)
_AMPUTATED = ("toes_r", "talus_r")
_BODY_SIZE, _MUSCLE_SIZE, _CENTRE_SIZE = 9, 3, 8
_FIRST_BODY = 8
_FIRST_JOINT = _FIRST_BODY + len(_BODIES) * _BODY_SIZE
_FIRST_MUSCLE = _FIRST_JOINT + 33


class Patient:
    """The body as last read.

    Attributes:
        position, velocity: of the pelvis in ground: x forward, y up, z right; m, m/s.
        activations: of all muscles, in the model's order.

    Args:
        model: one of the four of the challenge, or one that has all that they have.
        prosthesis: the right foot has neither toes nor talus; they are observed as 0.
    """

    def __init__(self, model: MuscleModel, *, prosthesis: bool) -> None:
        model.require(
            "OpenSimProsthetics-v0",
            bodies=[
                "pelvis",
                *(name for name in _BODIES if not (prosthesis and name in _AMPUTATED)),
            ],
            coordinates=[name for joint in _JOINTS for name in joint],
        )
        bodies, coordinates = model.model.getBodySet(), model.model.getCoordinateSet()
        self._model = model.model
        self._pelvis = bodies.get("pelvis")
        self._bodies = [
            None if prosthesis and name in _AMPUTATED else bodies.get(name) for name in _BODIES
        ]
        self._joints = [[coordinates.get(name) for name in joint] for joint in _JOINTS]
        names = [str(muscle.getName()) for muscle in model.muscles]
        by_name = sorted(range(len(names)), key=names.__getitem__)
        self._muscles = [model.muscles[i] for i in by_name]
        self._places = np.argsort(by_name).tolist()
        self.position = self.velocity = (0.0, 0.0, 0.0)
        self.activations: list[float] = []

    def read(self, state: Any) -> list[float]:
        """The observation but for the target velocity, from OpenSim's ``state``; fills the
        attributes. Layout in `Prosthetics`.
        """
        self._model.realizeAcceleration(state)
        pelvis = _body_values(self._pelvis, state)
        place = self._pelvis.getPositionInGround(state)
        velocity = self._pelvis.getVelocityInGround(state).get(1)
        self.position = (place.get(0), place.get(1), place.get(2))
        self.velocity = (velocity.get(0), velocity.get(1), velocity.get(2))
        values = pelvis[1:]
        for body in self._bodies:
            if body is None:
                values += [0.0] * _BODY_SIZE
                continue
            own = _body_values(body, state)
            for i in (0, 1, 6):
                own[i] -= pelvis[i]
            values += own
        for joint in self._joints:
            values += [coordinate.getValue(state) for coordinate in joint]
            values += [coordinate.getSpeedValue(state) for coordinate in joint]
            values += [coordinate.getAccelerationValue(state) for coordinate in joint]
        values += self._muscle_values(state)
        values += self._centre_values(state, pelvis)
        return values

    def _muscle_values(self, state: Any) -> list[float]:
        values: list[float] = []
        for muscle in self._muscles:
            values += (
                muscle.getActivation(state),
                muscle.getFiberLength(state),
                muscle.getFiberVelocity(state),
            )
        self.activations = [values[_MUSCLE_SIZE * place] for place in self._places]
        return values

    def _centre_values(self, state: Any, pelvis: list[float]) -> list[float]:
        model = self._model
        place = model.calcMassCenterPosition(state)
        velocity, acceleration = (
            model.calcMassCenterVelocity(state),
            model.calcMassCenterAcceleration(state),
        )
        return [
            *(place.get(i) - pelvis[i] for i in range(2)),
            *(velocity.get(i) for i in range(3)),
            *(acceleration.get(i) for i in range(3)),
        ]


def observation_size(num_muscles: int) -> int:
    """How many numbers `Patient.read` gives."""
    return _FIRST_MUSCLE + num_muscles * _MUSCLE_SIZE + _CENTRE_SIZE


def patient_mirror(num_targets: int) -> Mirror:
    """Left and right in the observation without prosthesis, followed by ``num_targets`` (0 or 3)
    numbers of a target velocity.

    Of what leaves the sagittal plane only the centre of mass and the target are observed with a
    sign; hip adduction and rotation have the same sign when both legs do the same.
    """
    size = observation_size(2 * LEG_MUSCLES)
    index, sign = list(range(size + num_targets)), [1.0] * (size + num_targets)
    pairs = [(_FIRST_BODY + 18, 9), (_FIRST_BODY + 36, 9)]  # toes, talus
    pairs += [(_FIRST_JOINT, 3), (_FIRST_JOINT + 9, 9), (_FIRST_JOINT + 27, 3)]
    pairs += [(_FIRST_MUSCLE + 6 * i, _MUSCLE_SIZE) for i in range(LEG_MUSCLES)]
    for first, count in pairs:
        index[first : first + 2 * count] = (
            *range(first + count, first + 2 * count),
            *range(first, first + count),
        )
    sign[size - 4] = sign[size - 1] = -1.0  # the centre of mass along z
    if num_targets:
        sign[-1] = -1.0
    right = range(LEG_MUSCLES)
    return Mirror(index, sign, right, range(LEG_MUSCLES, 2 * LEG_MUSCLES))


def _body_values(body: Any, state: Any) -> list[float]:
    """Place, velocity and acceleration, x and y each; angle, angular velocity and acceleration
    about z.
    """
    transform = body.getTransformInGround(state)
    place = transform.p()
    velocity, acceleration = body.getVelocityInGround(state), body.getAccelerationInGround(state)
    linear, linear_rate = velocity.get(1), acceleration.get(1)
    return [
        place.get(0),
        place.get(1),
        linear.get(0),
        linear.get(1),
        linear_rate.get(0),
        linear_rate.get(1),
        transform.R().convertRotationToBodyFixedXYZ().get(2),
        velocity.get(0).get(2),
        acceleration.get(0).get(2),
    ]
