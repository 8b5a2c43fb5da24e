"""osim-rl 3.0.11's own Arm2DEnv, with only what it needs to run on today's packages."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import opensim
import scipy.interpolate
from original_walk2d import _LinearInterpolation, _prescribed_by_name


def original_arm2d() -> Any:
    """A fresh original: ``reset()`` and ``step(action)`` as its authors wrote them."""
    opensim.Logger.removeFileSink()
    opensim.Logger.setLevelString("error")
    before = sys.modules.get("gym")
    sys.modules["gym"] = gymnasium  # type: ignore[assignment]
    scipy.interpolate.interp2d = _LinearInterpolation
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from osim.env.arm import Arm2DEnv
    finally:
        if before is None:
            del sys.modules["gym"]
        else:
            sys.modules["gym"] = before

    class Original(Arm2DEnv):  # type: ignore[misc]
        def load_model(self, model_path: str | None = None) -> None:
            with _prescribed_by_name(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                super().load_model(model_path)

        def reset(self) -> Any:
            # Otherwise the last action is still held while the muscles are equilibrated.
            self.osim_model.actuate(np.ones(6))
            with contextlib.redirect_stdout(io.StringIO()):  # it prints its target
                super().reset(obs_as_dict=False)
            # What it returns still shows the target of the episode before.
            return np.array(self.get_observation())

        def step(self, action: Any) -> Any:
            return super().step(action, obs_as_dict=False)

    return Original(visualize=False)
