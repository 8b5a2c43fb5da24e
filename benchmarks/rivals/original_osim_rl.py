"""osim-rl's own environments, with only what they need to run on today's packages.

The ground truth of the tests, and what `opensim_adapter.py` measures us against. Every correction
has its reason beside it; nothing else of the originals is touched. Nothing of ours is imported, so
that this file also runs under the interpreter of another environment, such as one with osim-rl
2.1.5, which has the classes of 2017 and 2018.

As a command it plays one of them for `OriginalProcess`, a measurement for each line that it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import gymnasium
import numpy as np
import opensim

START_POSE = (
    *(1.7, 0.5, 0.9023, 0.2012),
    *(0.0, -0.6952, -0.3231, 0.1709),
    *(0.0, -0.0528, -0.8042, -0.1745),
)
"""Of the walk-around, mid-stride, as osim-rl's authors start their own controller."""


class _LinearInterpolation:
    """`scipy.interpolate.interp2d` of kind linear, which scipy 1.14 took away.

    By the drop-in replacement that scipy's own guide names; outside the grid the nearest value.
    """

    def __init__(self, x: Any, y: Any, z_yx: Any, kind: str) -> None:
        from scipy.interpolate import RectBivariateSpline

        assert kind == "linear"
        self._spline = RectBivariateSpline(x, y, np.asarray(z_yx).T, kx=1, ky=1)

    def __call__(self, x: float, y: float) -> Any:
        return self._spline(x, y)[0]


def walk(model: str = "2D", difficulty: int = 0, accuracy: float = 5e-5) -> Any:
    """A fresh L2M2019Env: ``reset(init_pose=...)`` and ``step(action)`` as its authors wrote them.

    Where targets stand is drawn from numpy's global generator.
    """
    import scipy.interpolate  # osim-rl 2.1.5 does without

    scipy.interpolate.interp2d = _LinearInterpolation
    with _today():
        from osim.env.osim import L2M2019Env, OsimModel

        class Walk(L2M2019Env):  # type: ignore[misc]
            def get_reward_1(self) -> float:
                # UnboundLocalError at the time limit: the bonus of 10 is added here instead.
                limit, self.spec.timestep_limit = self.spec.timestep_limit, sys.maxsize
                reward = float(super().get_reward_1())
                self.spec.timestep_limit = limit
                ended = self.osim_model.istep >= limit and not self.is_done()
                return reward + 10.0 if ended else reward

        Walk.model = model
        OsimModel.maxforces, OsimModel.curforces = [], []
        env = Walk(visualize=False, integrator_accuracy=accuracy, difficulty=difficulty)
    # A dictionary of the class, shared by all instances.
    env.footstep = dict(env.footstep)
    draw = env.vtgt.create_vtgt_sink

    def create_vtgt_sink(v_amp_rng: Any) -> None:
        # It writes arrays of one element into single places, of which numpy warns.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            draw(v_amp_rng)

    env.vtgt.create_vtgt_sink = create_vtgt_sink
    return env


def arm() -> Any:
    """A fresh Arm2DEnv; where its target is is drawn from `random`."""
    with _today():
        from osim.env.arm import Arm2DEnv

        return Arm2DEnv(visualize=False)


def run() -> Any:
    """A fresh L2RunEnv, of osim-rl 2.1.5."""
    with _today():
        from osim.env.osim import L2RunEnv

        return L2RunEnv(visualize=False)


def prosthetics() -> Any:
    """A fresh ProstheticsEnv, of osim-rl 2.1.5: 3D, with the prosthesis, first round."""
    with _today():
        from osim.env.osim import ProstheticsEnv

        return ProstheticsEnv(visualize=False, difficulty=0)


class Played:
    """An original with one way to begin and one way to go on."""

    def __init__(self, env: Any, **start: Any) -> None:
        self._env = env
        self._start = start

    def reset(self) -> None:
        """The start of an episode."""
        with _quiet():
            self._env.reset(**self._start)

    def step(self, action: Sequence[float]) -> bool:
        """Hold ``action`` for 0.01 s; whether the episode is over."""
        return bool(self._env.step(action)[2])


ORIGINALS: dict[str, Callable[[], Played]] = {
    "OpenSimWalk2D-v0": lambda: Played(walk("2D"), init_pose=np.array(START_POSE)),
    "OpenSimWalk3D-v0": lambda: Played(walk("3D"), init_pose=np.array(START_POSE)),
    "OpenSimArm2D-v0": lambda: Played(arm()),
    "OpenSimRun-v0": lambda: Played(run()),
    "OpenSimProsthetics-v0": lambda: Played(prosthetics()),
}
"""By the name of our environment of the same kind; the last two need osim-rl 2.1.5."""


def rate(reset: Callable[[], Any], step: Callable[[Any], bool], actions: Sequence[Any]) -> float:
    """Steps per second of processor time; an episode that ends early begins again, uncounted."""
    reset()
    spent_s = 0.0
    for action in actions:
        began_s = time.process_time()
        ended = step(action)
        spent_s += time.process_time() - began_s
        if ended:
            reset()
    return len(actions) / spent_s


class OriginalProcess:
    """An original in a process of its own, as whoever uses osim-rl has it.

    In ours, OpenSim's libraries have been bound to their own optimised code by the time that
    osim-rl imports them (`env.musculoskeletal.model.import_opensim`), and it would be as fast.

    Args:
        env_name: a key of `ORIGINALS`.
        python: an interpreter with osim-rl.
        environment: what else it finds in its environment.

    Raises:
        RuntimeError: it cannot be built there; with the last line that it had to say.
    """

    def __init__(
        self,
        env_name: str,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [python, str(Path(__file__).resolve()), env_name],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def rate(self, actions: Any) -> float:
        """Steps per second of its processor time over these ``(T, A)`` actions."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(np.asarray(actions).tolist()) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            raise RuntimeError((errors.strip().splitlines() or ["it ended without a word"])[-1])
        return line


def main() -> None:
    """Play the original that the command names."""
    answers: TextIO = sys.stdout
    with _quiet():
        original = ORIGINALS[sys.argv[1]]()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        actions = [np.array(action) for action in json.loads(line)]
        print(rate(original.reset, original.step, actions), file=answers, flush=True)


@contextlib.contextmanager
def _today() -> Iterator[None]:
    """While open, osim-rl imports and builds its models with today's gymnasium and opensim."""
    opensim.Logger.removeFileSink()
    opensim.Logger.setLevelString("error")
    before = sys.modules.get("gym")
    sys.modules["gym"] = gymnasium
    try:
        with warnings.catch_warnings(), _quiet(), _prescribed_by_name():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del sys.modules["gym"]
        else:
            sys.modules["gym"] = before


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


def _quiet() -> contextlib.redirect_stdout[TextIO]:
    """Difficulties, targets and more are printed."""
    return contextlib.redirect_stdout(sys.stderr)


if __name__ == "__main__":
    main()
