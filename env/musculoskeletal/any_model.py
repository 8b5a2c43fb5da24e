"""Any OpenSim model with muscles, as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from env.musculoskeletal.model import MuscleModel
from env.musculoskeletal.opensim_env import OpenSimEnv, Pose, SimulationOptions
from errors import ConfigError, did_you_mean

TIME_LIMIT_STEPS = 1000
NAME = "OpenSimModel-v0"


class AnyModel(OpenSimEnv):
    """``OpenSimModel-v0``: a model of your own, moved by its muscles, rewarded as you say.

    For what the other environments have no place for. One step is 0.01 s of simulated time. From a
    config::

        env_name=OpenSimModel-v0 include=FOLDER
        env_options="{'model': 'mine.osim', 'reward': 'mine:reward', 'body': 'pelvis'}"

    **Actions**: ``Box(0, 1, (M,), float32)``, the excitations of the model's M muscles, in its own
    order; values outside are clipped. Other actuators get their default control.

    **Observations**: ``Box(-inf, inf, (2 C + 4 M,), float64)``, of C coordinates and M muscles, in
    the model's order.

    =============== ================================================== =================
    index           what                                               unit
    =============== ================================================== =================
    0 to C - 1      coordinates                                        m or rad
    C to 2 C - 1    their speeds                                       m/s or rad/s
    2 C + 4 m       muscle m: activation                               1
    2 C + 4 m + 1   fibre length / optimal fibre length                1
    2 C + 4 m + 2   fibre velocity / optimal fibre length              1/s
    2 C + 4 m + 3   fibre force / maximum isometric force              1
    =============== ================================================== =================

    **Reward**: what your function makes of each step; see `env.musculoskeletal.own_reward`. There
    is no other. ``info["reward_terms"]`` has its terms, ``info["distance_m"]`` how far forward
    (along x) ``body`` is from where it started, ``info["time_s"]`` the simulated time.

    **Start**: the model's default pose, or ``pose``; always the same. **Termination**: ``body``
    below ``fallen_below_m``, where that is given. **Truncation**: after ``time_limit_steps``, 1,000
    by default.

    Args:
        model: an ``.osim`` file; from a config, one in the ``include`` folder or of osim-rl's.
        reward: your function; from a config, ``module:function`` in that folder.
        body: whose height and distance count; the model's first by default.
        fallen_below_m: height of that body's origin that ends the episode.
        options: see `env.musculoskeletal.opensim_env.SimulationOptions`.

    Raises:
        ConfigError: no model or no reward, a model without muscles or without that body, or another
            argument that cannot work.
        EnvUnavailable: opensim is not installed.

    Version history: v0, first.
    """

    def __init__(
        self,
        *,
        body: str | None = None,
        fallen_below_m: float | None = None,
        **options: Unpack[SimulationOptions],
    ) -> None:
        for name, example in (("model", "mine.osim"), ("reward", "mine:reward")):
            if options.get(name) is None:
                raise ConfigError(
                    f"{NAME} needs a {name} of your own: env_options=\"{{'{name}': '{example}'}}\" "
                    "and include=FOLDER"
                )
        super().__init__(str(options["model"]), TIME_LIMIT_STEPS, options)
        self._body = _body(self.model, body)
        self._fallen_below_m = -np.inf if fallen_below_m is None else _height(fallen_below_m)
        coordinates = self.model.model.getCoordinateSet()
        self._coordinates = [coordinates.get(i) for i in range(coordinates.getSize())]
        self._muscles = [
            (muscle, muscle.getOptimalFiberLength(), muscle.getMaxIsometricForce())
            for muscle in self.model.muscles
        ]
        size = 2 * len(self._coordinates) + 4 * len(self._muscles)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self._started_m: float | None = None
        self._forward_m = self._height_m = 0.0

    @property
    def distance_m(self) -> float:
        """How far forward the body is from where it started."""
        return self._forward_m - (self._started_m or 0.0)

    def _action_order(self) -> NDArray[np.intp]:
        if not self.model.muscles:
            raise ConfigError(f"model {self.model.path.name} has no muscles to move it")
        return super()._action_order()

    def _start_pose(self) -> Pose:
        return None, None

    def _begin(self) -> None:
        self._started_m = None

    def _observe(self) -> NDArray[np.float64]:
        state = self.model.state
        # Forces and muscle dynamics are known at this stage; no acceleration is observed.
        self.model.model.realizeDynamics(state)
        position = self._body.getPositionInGround(state)
        self._forward_m, self._height_m = position.get(0), position.get(1)
        if self._started_m is None:
            self._started_m = self._forward_m
        values = [coordinate.getValue(state) for coordinate in self._coordinates]
        values += [coordinate.getSpeedValue(state) for coordinate in self._coordinates]
        for muscle, length, force in self._muscles:
            values += (
                muscle.getActivation(state),
                muscle.getFiberLength(state) / length,
                muscle.getFiberVelocity(state) / length,
                muscle.getFiberForce(state) / force,
            )
        return np.array(values)

    def _has_ended(self) -> bool:
        return bool(self._height_m < self._fallen_below_m)

    def _rewarded(self, *, succeeded: bool) -> tuple[float, dict[str, float]]:
        return 0.0, {}


def _body(model: MuscleModel, name: str | None) -> Any:
    bodies = model.model.getBodySet()
    names = [str(bodies.get(i).getName()) for i in range(bodies.getSize())]
    if not names:
        raise ConfigError(f"model {model.path.name} has no body")
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise ConfigError(
            f"body={chosen!r}: model {model.path.name} has none of that name"
            f"{did_you_mean(chosen, names)}; it has {', '.join(names)}"
        )
    return bodies.get(chosen)


def _height(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ConfigError(f"fallen_below_m={value!r}: expected a height in m")
    return float(value)
