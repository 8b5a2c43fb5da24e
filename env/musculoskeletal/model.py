"""An OpenSim model that is driven by muscle excitations and advanced in equal steps.

The only place that talks to OpenSim's model, controller and integrator. What osim-rl 3.0.11 does
for the same purpose is in its ``osim/env/osim.py``; comments name what is wrong there.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from env.musculoskeletal.integration import PRESETS, Integration
from env.musculoskeletal.kernels import pinned_kernels
from errors import ConfigError, EnvUnavailable

STEP_S = 0.01
INSTALL_OPENSIM = "pip install opensim==4.6"
INSTALL_OSIM_RL = "pip install --no-deps osim-rl==3.0.11"

# osim-rl prescribes a constant 1 for every muscle until the first action comes.
_RESTING_CONTROL = 1.0


def import_opensim() -> Any:
    """The ``opensim`` module, with the kernels of `env.musculoskeletal.kernels`, and quiet: no
    ``opensim.log`` in the working directory, no remarks on the terminal.

    Raises:
        EnvUnavailable: it is not installed, or does not load on this machine.
    """
    try:
        with pinned_kernels():
            _bind_libraries()
            import opensim
    except ImportError as error:
        raise EnvUnavailable(
            f"opensim cannot be imported ({error}); it has wheels for Python 3.11 to 3.13: "
            f"{INSTALL_OPENSIM}"
        ) from None
    opensim.Logger.removeFileSink()
    opensim.Logger.setLevelString("error")
    return opensim


def _bind_libraries() -> None:
    """Load OpenSim's libraries before the extension modules that Python talks to.

    The wheel's extension modules, `_simbody.so` first of all, bring copies of Simbody's inline
    functions that were compiled without optimisation. Whatever is loaded first in the name of such
    a module is bound to its copies, Simbody's own inner loops too. Libraries that are loaded by
    themselves are bound to their own: the same numbers to the bit, in a sixth less time.
    """
    if "opensim" in sys.modules or not sys.platform.startswith("linux"):
        return
    spec = importlib.util.find_spec("opensim")
    for folder in (spec and spec.submodule_search_locations) or ():
        # It needs all the others that a simulation runs in, and so brings them. A wheel without it
        # is only slower.
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(Path(folder) / "libosimTools.so"))


def osim_rl_folder() -> Path:
    """The installed ``osim`` package's folder, found without running its code (which imports gym).

    Raises:
        EnvUnavailable: osim-rl is not installed.
    """
    spec = importlib.util.find_spec("osim")
    if spec is None or not spec.submodule_search_locations:
        raise EnvUnavailable(f"osim-rl, which brings the models, is missing: {INSTALL_OSIM_RL}")
    return Path(spec.submodule_search_locations[0])


class MuscleModel:
    """An ``.osim`` model, one constant excitation per muscle, and time in steps of `STEP_S`.

    Attributes:
        path: the model file.
        integration: what an episode is integrated with.
        model: the ``opensim.Model``.
        state: the state after the last `start` or `advance`; OpenSim owns and overwrites it.
        muscles: its muscles, in the model's order, which is the order of `set_excitations`.
        num_steps: steps since `start`.

    Args:
        path: the model file.
        integration: of every episode, unless `start` is told otherwise.
        fresh_derivatives: see `advance`.
        prepare: called with the ``opensim`` module and the ``opensim.Model`` before its system is
            built, to add bodies, joints and forces.

    Raises:
        EnvUnavailable: opensim is missing.
        ConfigError: there is no such file, or it is not a model that OpenSim reads.
    """

    def __init__(
        self,
        path: Path,
        integration: Integration = PRESETS["exact"],
        *,
        fresh_derivatives: bool = False,
        prepare: Callable[[Any, Any], None] | None = None,
    ) -> None:
        self._opensim = opensim = import_opensim()
        if not path.is_file():
            raise ConfigError(f"there is no model file {path}: name an .osim file that exists")
        try:
            self.model = opensim.Model(str(path))
            if prepare is not None:
                prepare(opensim, self.model)
            self.model.initSystem()
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{path} is not a model that OpenSim reads: {reason}") from None
        self.path = path
        self.integration = integration
        self._fresh_derivatives = fresh_derivatives
        muscle_set = self.model.getMuscles()
        self.muscles = [muscle_set.get(i) for i in range(muscle_set.getSize())]
        self._prescribe_constants()
        self.model.initSystem()
        self._excitations = self._prescribed_constants()
        self._velocity_stage = opensim.Stage(opensim.Stage.Velocity)
        self._manager: Any = None
        self.state: Any = None
        self.num_steps = 0

    def _prescribe_constants(self) -> None:
        controller = self._opensim.PrescribedController()
        for muscle in self.muscles:
            controller.addActuator(muscle)
            # osim.py:65 prescribes by index, which opensim 4.6 refuses; by name it is the same.
            controller.prescribeControlForActuator(
                muscle.getName(), self._opensim.Constant(_RESTING_CONTROL)
            )
        self.model.addController(controller)

    def _prescribed_constants(self) -> list[Any]:
        """Handles of the muscles' constants; `initSystem` rebuilds these, so it comes before."""
        controllers = self.model.getControllerSet()
        self._controller = self._opensim.PrescribedController.safeDownCast(
            controllers.get(controllers.getSize() - 1)
        )
        functions = self._controller.get_ControlFunctions()
        return [
            self._opensim.Constant.safeDownCast(functions.get(i)) for i in range(len(self.muscles))
        ]

    def rebuild(self) -> None:
        """Build the system anew, after a property of the model has changed that it copies: the
        size or place of a contact, the default of a coordinate that is locked. Between 1 and 5 ms,
        and no memory is lost; handles of components stay good. Then `start`.
        """
        # The integrator holds on to the system that is about to go.
        self._manager = self.state = None
        self.model.initSystem()
        self._excitations = self._prescribed_constants()

    def require(
        self,
        reader: str,
        *,
        bodies: Sequence[str] = (),
        coordinates: Sequence[str] = (),
        forces: Sequence[str] = (),
        muscles: Sequence[str] = (),
    ) -> None:
        """Make sure that the model has what ``reader`` reads of it.

        Raises:
            ConfigError: it has not; the message names all that is missing.
        """
        kinds = (
            ("body", self.model.getBodySet(), bodies),
            ("coordinate", self.model.getCoordinateSet(), coordinates),
            ("force", self.model.getForceSet(), forces),
            ("muscle", self.model.getMuscles(), muscles),
        )
        missing = [
            f"{kind} {name}"
            for kind, parts, names in kinds
            for name in names
            if not parts.contains(name)
        ]
        if missing:
            raise ConfigError(
                f"model {self.path.name} lacks what {reader} reads: {', '.join(missing)}; "
                "OpenSimModel-v0 takes any model"
            )

    def set_excitations(self, values: Sequence[float]) -> None:
        """Hold these muscle excitations, Python floats in [0, 1], from now on."""
        for function, value in zip(self._excitations, values, strict=True):
            function.setValue(value)

    def start(
        self,
        pose_q: Sequence[float] | None = None,
        speed_u: Sequence[float] | None = None,
        integration: Integration | None = None,
    ) -> None:
        """Time 0 at generalised coordinates ``pose_q`` and speeds ``speed_u`` (SI and rad, in the
        order of OpenSim's state vector; the model's own where None), muscles in equilibrium.
        ``integration`` is this episode's, where it differs from the others'.
        """
        # osim-rl leaves the last action of the episode before in the controller while it
        # equilibrates, so that an episode depends on what ran earlier in the same process.
        self.set_excitations([_RESTING_CONTROL] * len(self._excitations))
        state = self.model.initializeState()
        q, u = state.getQ(), state.getU()
        for i, value in enumerate(pose_q or ()):
            q[i] = value
        for i, value in enumerate(speed_u or ()):
            u[i] = value
        state.setQ(q)
        state.setU(u)
        self.model.equilibrateMuscles(state)
        state.setTime(0)
        self._begin(state, integration or self.integration)

    def _begin(self, state: Any, integration: Integration) -> None:
        manager = self._opensim.Manager(self.model)
        method = getattr(manager, f"IntegratorMethod_{integration.integrator}")
        manager.setIntegratorMethod(method)
        manager.setIntegratorAccuracy(float(integration.accuracy))
        # Nobody reads the trajectory that a manager stores at every internal step.
        manager.setWriteToStorage(False)
        manager.setPerformAnalyses(False)
        manager.initialize(state)
        self._manager = manager
        self.state = state
        self.num_steps = 0

    def advance(self) -> None:
        """One step of `STEP_S`. Holds the GIL until it is done, which may be never.

        A step of osim-rl's begins with the derivatives that were computed, for the accelerations
        that nobody observes, when the step before had ended: those of the action before. The
        integrator mistrusts the jump and takes smaller steps. Its numbers are the published ones,
        so that is what happens here too, unless ``fresh_derivatives`` lets each step begin with
        those of its own action. Where actions jump (random ones, 100 steps) that took a quarter
        less time and the error was 0.27 times as large; a smooth gait takes the same time.

        Raises:
            RuntimeError: OpenSim's own message, where the integration fails.
        """
        self.num_steps += 1
        if self._fresh_derivatives:
            # Whoever observed accelerations, or controls, has had them computed for the old action.
            self.state.invalidateAllCacheAtOrAbove(self._velocity_stage)
        self.state = self._manager.integrate(STEP_S * self.num_steps)
        if not self._fresh_derivatives:
            self.model.realizeAcceleration(self.state)

    @property
    def time_s(self) -> float:
        """Simulated seconds since `start`."""
        return STEP_S * self.num_steps
