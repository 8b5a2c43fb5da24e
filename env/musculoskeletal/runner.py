"""What is observed of the 2017 model, read from OpenSim through handles kept for life.

Two readings of one body: the challenge's own, and that of the 2019 walk-around, which the reflex
controller knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.state import BODY_SIZE, GRAVITY_M_S2, LEG_SIZE, LEGS, MUSCLES
from env.musculoskeletal.walk import walk_mirror
from policy.mirror import Mirror

NUM_MUSCLES = 18
ORIGINAL_BODY_SIZE = 36
ORIGINAL_SIZE = ORIGINAL_BODY_SIZE + 2 + 3

_PELVIS = ("pelvis_tilt", "pelvis_tx", "pelvis_ty")
_JOINTS = ("hip_flexion", "knee_angle", "ankle_angle")
_BODIES = ("head", "pelvis", "torso", "toes_l", "toes_r", "talus_l", "talus_r")
_FIRST_LEG = 9  # of a leg in the walk-around's body: nine numbers of the pelvis come before


class Runner:
    """The runner as last read.

    Attributes:
        x: of the pelvis' coordinate, forward, m.
        pelvis_height: of the pelvis' origin in ground, m.
    """

    def __init__(self, model: MuscleModel) -> None:
        model.require(
            "OpenSimRun-v0",
            bodies=_BODIES,
            coordinates=[*_PELVIS, *(f"{name}_{leg}" for leg in LEGS for name in _JOINTS)],
            forces=[f"foot_{leg}" for leg in LEGS],
            muscles=[f"iliopsoas_{leg}" for leg in LEGS],
        )
        coordinates, bodies = model.model.getCoordinateSet(), model.model.getBodySet()
        self._model = model.model
        self._coordinates = [coordinates.get(name) for name in _PELVIS]
        self._coordinates += [coordinates.get(f"{name}_{leg}") for leg in LEGS for name in _JOINTS]
        self._bodies = [bodies.get(name) for name in _BODIES]
        self._pelvis = bodies.get("pelvis")
        self._feet = [model.model.getForceSet().get(f"foot_{leg}") for leg in LEGS]
        muscles = {str(muscle.getName()): muscle for muscle in model.muscles}
        self._muscles = [
            _sized(muscles.get(f"{name}_{leg}")) for leg in LEGS for name in MUSCLES.values()
        ]
        self._weight_n = float(model.model.getTotalMass(model.model.initializeState()))
        self._weight_n *= GRAVITY_M_S2
        self.x = 0.0
        self.pelvis_height = 0.0

    def read_pelvis(self, state: Any) -> None:
        """Fill the attributes from OpenSim's ``state``."""
        self._model.realizePosition(state)
        self.x = self._coordinates[1].getValue(state)
        self.pelvis_height = self._pelvis.getPositionInGround(state).get(1)

    def original_body(self, state: Any) -> list[float]:
        """The first 36 numbers of the challenge's observation; layout in `Run`."""
        model = self._model
        model.realizeVelocity(state)
        angles = [coordinate.getValue(state) for coordinate in self._coordinates]
        speeds = [coordinate.getSpeedValue(state) for coordinate in self._coordinates]
        centre, velocity = model.calcMassCenterPosition(state), model.calcMassCenterVelocity(state)
        values = [*angles[:3], *speeds[:3], *angles[3:], *speeds[3:]]
        values += (centre.get(0), centre.get(1), velocity.get(0), velocity.get(1))
        for body in self._bodies:
            place = body.getPositionInGround(state)
            values += (place.get(0), place.get(1))
        return values

    def walk_body(self, state: Any) -> NDArray[np.float64]:
        """``(97,)`` float64, the walk-around's observation but for the velocity field; layout in
        `env.musculoskeletal.walk2d.Walk2D`.
        """
        self._model.realizeDynamics(state)
        body = np.zeros(BODY_SIZE)
        velocity = self._pelvis.getVelocityInGround(state).get(1)
        tilt = self._coordinates[0]
        body[0] = self.pelvis_height
        body[1] = -tilt.getValue(state)
        body[3], body[5] = velocity.get(0), velocity.get(1)
        body[6] = -tilt.getSpeedValue(state)
        for leg in range(2):
            first = _FIRST_LEG + leg * LEG_SIZE
            body[first : first + LEG_SIZE] = self._walk_leg(state, leg)
        return body

    def _walk_leg(self, state: Any, leg: int) -> list[float]:
        record = self._feet[leg].getRecordValues(state)
        # The record opens with the force on the ground, so the runner's is its negative.
        forward, upward, right = (-(record.get(i) / self._weight_n) for i in range(3))
        values = [forward, right if leg == 0 else -right, upward]
        hip, knee, ankle = self._coordinates[3 + 3 * leg : 6 + 3 * leg]
        # No hip abduction; extension is positive.
        values += (0.0, -hip.getValue(state), knee.getValue(state), -ankle.getValue(state))
        values += (
            0.0,
            -hip.getSpeedValue(state),
            knee.getSpeedValue(state),
            -ankle.getSpeedValue(state),
        )
        count = len(MUSCLES)
        for sized in self._muscles[leg * count : (leg + 1) * count]:
            if sized is None:
                values += (0.0, 0.0, 0.0)
                continue
            muscle, max_force, length = sized
            values += (
                muscle.getFiberForce(state) / max_force,
                muscle.getFiberLength(state) / length,
                muscle.getFiberVelocity(state) / length,
            )
        return values


def _sized(muscle: Any) -> tuple[Any, float, float] | None:
    """With its greatest isometric force and its optimal fibre length; ``None`` for one that this
    model has not, a hip abductor or adductor.
    """
    if muscle is None:
        return None
    return muscle, muscle.getMaxIsometricForce(), muscle.getOptimalFiberLength()


def original_mirror() -> Mirror:
    """Left and right in the challenge's observation: a plane, so that only places change."""
    index = np.arange(ORIGINAL_SIZE)
    _exchange(index, 6, 9, 3)  # hip, knee and ankle
    _exchange(index, 12, 15, 3)  # their velocities
    _exchange(index, 28, 30, 2)  # toes
    _exchange(index, 32, 34, 2)  # talus
    _exchange(index, 36, 37, 1)  # strength of the psoas
    return _mirror(index.tolist(), [1.0] * ORIGINAL_SIZE)


def runners_walk_mirror() -> Mirror:
    """Left and right in the walk-around's observation, and in this model's muscles."""
    mirror = walk_mirror()
    return _mirror(mirror.observation_index, mirror.observation_sign)


def _exchange(index: NDArray[np.intp], first: int, second: int, count: int) -> None:
    index[first : first + count] = np.arange(second, second + count)
    index[second : second + count] = np.arange(first, first + count)


def _mirror(index: Sequence[int], sign: Sequence[float]) -> Mirror:
    half = NUM_MUSCLES // 2
    return Mirror(index, sign, range(half), range(half, NUM_MUSCLES))
