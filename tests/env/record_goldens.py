"""Record a few dozen steps of osim-rl 2.1.5's own 2017 and 2018 environments.

They left osim-rl with its version 3, and the two cannot be installed together. So this was run
once, in an environment of its own, and what it wrote lies in ``goldens/``::

    python -m venv osim215
    osim215/bin/pip install opensim==4.6 gymnasium==1.4.0 numpy==2.3.5 setuptools wheel
    osim215/bin/pip install --no-deps --no-build-isolation osim-rl==2.1.5
    OPENBLAS_CORETYPE=Haswell osim215/bin/python record_goldens.py goldens

It imports nothing of ours. Only what keeps 2.1.5 from running today is changed: gym's name is
given to gymnasium, and an actuator's control is prescribed by its name instead of its number.

``l2run.npz`` holds ``actions_ta`` (T, 18), ``observations_to`` (T + 1, 43; the first is reset's)
and ``rewards_t`` (T,). ``prosthetics_{3D,2D}[_pros].npz`` hold the same, with 160 or 169
observations and 19 or 22 actions; ``targets_tv`` (T + 1, 3), the target velocity at each step; and
the rewards of both rounds of the challenge for the same states, ``round1_t`` and ``round2_t``.
All are float64, at the classes' own integrator and accuracy.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import opensim

NUM_STEPS = 30
POISSON_LAMBDA = 6
"""Between changes of the target velocity, so that some fall into these few steps."""


def prescribe_by_name() -> None:
    """Let ``prescribeControlForActuator(int, f)``, which opensim 4.6 refuses, find the name of the
    actuator that was added at that place.
    """
    controller = opensim.PrescribedController
    add, prescribe = controller.addActuator, controller.prescribeControlForActuator
    names: dict[int, list[str]] = {}

    def noting(self: Any, actuator: Any) -> None:
        names.setdefault(id(self), []).append(actuator.getName())
        add(self, actuator)

    def by_name(self: Any, index: int, function: Any) -> None:
        prescribe(self, names[id(self)][index], function)

    controller.addActuator, controller.prescribeControlForActuator = noting, by_name


def l2run(folder: Path) -> None:
    """The 2017 environment, from standing."""
    from osim.env.osim import L2RunEnv

    env = L2RunEnv(visualize=False)
    actions = np.random.default_rng(2017).uniform(0, 1, (NUM_STEPS, 18))
    observations, rewards = [env.reset()], []
    for action in actions:
        observation, reward, done, _ = env.step(action)
        assert not done
        observations.append(observation)
        rewards.append(reward)
    np.savez_compressed(
        folder / "l2run.npz",
        actions_ta=actions,
        observations_to=np.array(observations),
        rewards_t=np.array(rewards),
    )


def prosthetics(folder: Path, model: str, *, prosthetic: bool) -> None:
    """The 2018 environment in its second round, with the first round's reward beside."""
    from osim.env.osim import ProstheticsEnv

    class Variant(ProstheticsEnv):
        pass

    Variant.model, Variant.prosthetic = model, prosthetic
    env = Variant(visualize=False, difficulty=1)
    observations, round1, round2 = [env.reset()], [], []
    np.random.seed(7)
    random.seed(7)
    env.generate_new_targets(POISSON_LAMBDA)
    size = env.osim_model.get_action_space_size()
    actions = np.random.default_rng(2018).uniform(0, 1, (NUM_STEPS, size))
    for action in actions:
        observation, reward, done, _ = env.step(action)
        assert not done
        observations.append(observation)
        round1.append(env.reward_round1())
        round2.append(reward)
    np.savez_compressed(
        folder / f"prosthetics_{env.get_model_key()}.npz",
        actions_ta=actions,
        observations_to=np.array(observations),
        targets_tv=env.targets[: NUM_STEPS + 1],
        round1_t=np.array(round1),
        round2_t=np.array(round2),
    )


def main() -> None:
    """Write all goldens into the folder that the command names."""
    folder = Path(sys.argv[1])
    opensim.Logger.removeFileSink()
    opensim.Logger.setLevelString("error")
    sys.modules["gym"] = gymnasium
    prescribe_by_name()
    l2run(folder)
    for model in ("3D", "2D"):
        for prosthetic in (True, False):
            prosthetics(folder, model, prosthetic=prosthetic)


if __name__ == "__main__":
    main()
