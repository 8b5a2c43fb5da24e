"""osim-rl 3.0.11's own L2M2019Env in 2D, with only what it needs to run on today's packages.

The ground truth of the tests of our adapter. Each change below is named in FACTS or in the
docstring of `env.musculoskeletal.walk2d`; nothing else of the original is touched.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import opensim
import scipy.interpolate


class _LinearInterpolation:
    """`scipy.interpolate.interp2d` of kind linear, which scipy 1.14 took away.

    By the replacement that scipy's own release notes name; outside the grid the nearest value.
    """

    def __init__(self, x: Any, y: Any, z_yx: Any, kind: str) -> None:
        assert kind == "linear"
        self._spline = scipy.interpolate.RectBivariateSpline(x, y, np.asarray(z_yx).T, kx=1, ky=1)

    def __call__(self, x: float, y: float) -> Any:
        return self._spline(x, y)[0]


def original_walk2d(accuracy: float = 5e-5, difficulty: int = 0) -> Any:
    """A fresh original: ``reset(init_pose=...)`` and ``step(action)`` as its authors wrote them."""
    opensim.Logger.removeFileSink()
    opensim.Logger.setLevelString("error")
    before = sys.modules.get("gym")
    sys.modules["gym"] = gymnasium  # type: ignore[assignment]
    scipy.interpolate.interp2d = _LinearInterpolation
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from osim.env.osim import L2M2019Env, OsimModel
    finally:
        if before is None:
            del sys.modules["gym"]
        else:
            sys.modules["gym"] = before

    class Original(L2M2019Env):  # type: ignore[misc]
        model = "2D"

        def load_model(self, model_path: str | None = None) -> None:
            with _prescribed_by_name(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                super().load_model(model_path)

        def get_reward_1(self) -> float:
            # UnboundLocalError at the time limit: the bonus of 10 is added here instead.
            limit, self.spec.timestep_limit = self.spec.timestep_limit, sys.maxsize
            reward = float(super().get_reward_1())
            self.spec.timestep_limit = limit
            ended = self.osim_model.istep >= limit and not self.is_done()
            return reward + 10.0 if ended else reward

    OsimModel.maxforces, OsimModel.curforces = [], []
    env = Original(visualize=False, integrator_accuracy=accuracy, difficulty=difficulty)
    env.footstep = dict(env.footstep)
    return env


@contextlib.contextmanager
def _prescribed_by_name() -> Iterator[None]:
    """While open, `prescribeControlForActuator(int, f)`, which opensim 4.6 refuses, is given the
    name of the actuator that was added at that place.
    """
    controller = opensim.PrescribedController
    plain_add, plain_prescribe = controller.addActuator, controller.prescribeControlForActuator
    names: list[str] = []

    def add(self: Any, actuator: Any) -> None:
        names.append(actuator.getName())
        plain_add(self, actuator)

    def prescribe(self: Any, index: int, function: Any) -> None:
        plain_prescribe(self, names[index], function)

    controller.addActuator, controller.prescribeControlForActuator = add, prescribe
    try:
        yield
    finally:
        controller.addActuator = plain_add
        controller.prescribeControlForActuator = plain_prescribe
