"""The reflex controller of Song and Geyer as a policy: 37 parameters that walk.

Song and Geyer, "A neural circuitry that emphasizes spinal feedback generates diverse behaviours
of human locomotion", J. Physiol. 593:3493 (2015), in the form that osim-rl 3.0.11 ships as
``osim.control.osim_loco_reflex_song2019``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from errors import ConfigError, EnvUnavailable
from policy.spec import OptionValue
from policy.statistics import ObservationStatistics

NUM_PARAMETERS = {"2D": 37, "3D": 46}
OBSERVATION_SIZE = 339

LEG_MUSCLES = ("HAB", "HAD", "HFL", "GLU", "HAM", "RF", "VAS", "BFSH", "GAS", "SOL", "TA")
"""Of a leg, in the controller's order, right leg first: the walk-around environments' actions."""
NINE_MUSCLES = ("HAM", "BFSH", "GLU", "HFL", "RF", "VAS", "GAS", "SOL", "TA")
"""Those that a leg of the 2017 model has, in that model's order: `OpenSimRun-v0`'s actions."""

# Where the walk-around observation (see `env.musculoskeletal.walk2d.Walk2D`) holds what the
# controller reads. The muscles it feels are four of the eleven, each as force, length, velocity.
_PELVIS = 242
_LEGS = {"r_leg": 251, "l_leg": 295}
_FORCES = {"RF": 11 + 3 * 5, "VAS": 11 + 3 * 6, "GAS": 11 + 3 * 8, "SOL": 11 + 3 * 9}


class ReflexActor:
    """Reads muscles, joints and ground contact; answers with muscle excitations.

    theta is the offset from all ones, the controller's neutral setting, where every parameter has
    the size that its authors scaled it to. Observations are physical quantities to it, and
    statistics are not used.

    ==== ========== ======================================================================
    mode parameters what it does
    ==== ========== ======================================================================
    2D   37         walks in the sagittal plane; hip abductors and adductors hold constant
    3D   46         these balance it sideways, by nine more parameters
    ==== ========== ======================================================================

    The 2017 model has no hip abductors and adductors: it takes the other nine excitations of a leg.

    Args:
        observation_space: a walk-around environment's or ``OpenSimRun-v0``'s ``walk``, ``(339,)``.
        action_space: ``(22,)``, in the order of `LEG_MUSCLES`, or ``(18,)``, of `NINE_MUSCLES`.
        options: ``mode``: ``2D`` (the default) or ``3D``, which needs all 22 muscles.

    Raises:
        ConfigError: another space, option or mode.
        EnvUnavailable: osim-rl, which brings the controller, is not installed.
    """

    is_deterministic = True
    observation_size = OBSERVATION_SIZE

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        options: Mapping[str, OptionValue],
    ) -> None:
        self._places = _places(observation_space, action_space)
        mode = str(options.get("mode", "2D"))
        if mode not in NUM_PARAMETERS or set(options) - {"mode"}:
            raise ConfigError(f"options of policy reflex: {dict(options)}; known: mode=2D, mode=3D")
        if mode == "3D" and self._places is not None:
            raise ConfigError(
                "policy reflex in mode=3D balances by hip abductors and adductors, which a model "
                "of 18 muscles has not: use mode=2D"
            )
        self.num_parameters = NUM_PARAMETERS[mode]
        self._controller = _controller(mode)
        self._parameters = np.ones(self.num_parameters)
        self._senses = _empty_senses()

    def load(self, theta: NDArray[np.float32], statistics: ObservationStatistics | None) -> None:
        """Take ``(D,)`` float32 offsets; ``statistics`` are not used.

        Raises `ConfigError` when the length is another.
        """
        if np.shape(theta) != (self.num_parameters,):
            raise ConfigError(
                f"theta of shape {np.shape(theta)}; policy reflex has {self.num_parameters} "
                "parameters"
            )
        self._parameters = 1.0 + np.asarray(theta, dtype=np.float64)
        self._controller.set_control_params(self._parameters.tolist())

    def reset(self, rng: np.random.Generator) -> None:
        """A new episode, in stance on the right leg; nothing is drawn from ``rng``."""
        # Without parameters: these stay as loaded. Phases, contacts and stimuli are made anew, and
        # the commands from above are written before they are read.
        self._controller.reset()

    def act(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(22,)`` or ``(18,)`` float64 in [0.01, 1], from ``(339,)``."""
        write_senses(observation.tolist(), self._senses)
        excitations = np.array(self._controller.update(self._senses))
        return excitations if self._places is None else excitations[self._places]


def _places(
    observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> NDArray[np.intp] | None:
    """Which of the controller's excitations make an action; ``None``: all, as they come.

    Raises `ConfigError` for spaces that the controller cannot stand between.
    """
    num_muscles = len(LEG_MUSCLES)
    sizes = {(2 * num_muscles,): None, (2 * len(NINE_MUSCLES),): NINE_MUSCLES}
    if observation_space.shape != (OBSERVATION_SIZE,) or action_space.shape not in sizes:
        raise ConfigError(
            "policy reflex reads the walk-around observation of 339 numbers, without history, and "
            "drives 22 or 18 muscles: expected OpenSimWalk2D-v0, OpenSimWalk3D-v0, or "
            "OpenSimRun-v0 with env_options observation=walk; this environment has "
            f"{observation_space.shape} and {action_space.shape}"
        )
    muscles = sizes[action_space.shape]
    if muscles is None:
        return None
    leg = [LEG_MUSCLES.index(muscle) for muscle in muscles]
    return np.array(leg + [num_muscles + place for place in leg])


def write_senses(observation: list[float], senses: dict[str, Any]) -> None:
    """Write into ``senses`` what the controller reads of osim-rl's observation dictionary.

    ============================= ==========================  ====================================
    index                         dictionary                  what
    ============================= ==========================  ====================================
    243, 244                      pelvis: pitch, roll         rad
    245, 246, 248, 249            pelvis: vel[0, 1, 3, 4]     forward, leftward; pitch, roll
    leg + 2                       ground_reaction_forces[2]   upward, in body weights
    leg + 4, 5, 6                 joint: hip, knee, ankle     rad
    leg + 7, 8, 9                 d_joint: hip_abd, hip, knee rad/s
    leg + 26, 29, 35, 38          RF, VAS, GAS, SOL: f        in maximum isometric forces
    ============================= ==========================  ====================================

    where leg is 251 for the right and 295 for the left one.
    """
    pelvis = senses["pelvis"]
    pelvis["pitch"], pelvis["roll"] = observation[_PELVIS + 1], observation[_PELVIS + 2]
    pelvis["vel"] = observation[_PELVIS + 3 : _PELVIS + 9]
    for name, first in _LEGS.items():
        leg = senses[name]
        leg["ground_reaction_forces"] = observation[first : first + 3]
        joint, speed = leg["joint"], leg["d_joint"]
        joint["hip"], joint["knee"], joint["ankle"] = observation[first + 4 : first + 7]
        speed["hip_abd"], speed["hip"], speed["knee"] = observation[first + 7 : first + 10]
        for muscle, offset in _FORCES.items():
            leg[muscle]["f"] = observation[first + offset]


def _empty_senses() -> dict[str, Any]:
    leg_parts = ("joint", "d_joint", *_FORCES)
    return {"pelvis": {}} | {name: {part: {} for part in leg_parts} for name in _LEGS}


def _controller(mode: str) -> Any:
    try:
        with warnings.catch_warnings():
            # The module compares strings by identity, which Python remarks upon as it compiles it.
            warnings.simplefilter("ignore", SyntaxWarning)
            from osim.control.osim_loco_reflex_song2019 import OsimReflexCtrl
    except ImportError as error:
        raise EnvUnavailable(
            f"the reflex controller comes with osim-rl, which cannot be imported ({error}): "
            "pip install --no-deps osim-rl==3.0.11"
        ) from None
    # By identity: an equal string that was read from a file or a message would be no mode at all.
    return OsimReflexCtrl(dt=0.01, mode=sys.intern(mode))
