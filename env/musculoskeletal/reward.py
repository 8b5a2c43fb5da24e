"""The reward of the 2019 walk-around challenge's first round, step by step.

Song et al., "Deep reinforcement learning for modeling human locomotion control in
neuromechanical simulation", J. NeuroEng. Rehabil. 18:126 (2021), section on the reward; the
constants are those of osim-rl 3.0.11, ``L2M2019Env.get_reward_1``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from env.musculoskeletal.model import STEP_S
from env.musculoskeletal.state import GRAVITY_M_S2, WALKER_MASS_KG

ALIVE = 0.1
FOOTSTEP_WEIGHT = 10.0
VELOCITY_WEIGHT = 1.0
EFFORT_WEIGHT = 1.0
SUCCESS_BONUS = 10.0
CONTACT_LOAD_N = 0.05 * (WALKER_MASS_KG * GRAVITY_M_S2)

TERMS = ("alive", "footstep", "velocity", "effort", "bonus")


class FootstepReward:
    """Rewards time spent stepping, and at each new footstep charges what the step cost.

    Attributes:
        num_footsteps: feet set down since `reset`.
        terms: the last reward, term by term (`TERMS`).
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin an episode, on both feet."""
        self.num_footsteps = 0
        # osim-rl keeps these four in a dictionary of the class, shared by all instances.
        self._new_footstep = False
        self._contact = (True, True)
        self._step_s = 0.0
        self._effort = 0.0
        self._deviation = (0.0, 0.0)
        self.terms = dict.fromkeys(TERMS, 0.0)

    def step(
        self,
        activations: Sequence[float],
        velocity: tuple[float, float],
        target: tuple[float, float],
        *,
        succeeded: bool,
    ) -> float:
        """The reward of one step of `STEP_S`.

        Args:
            activations: of all muscles; summed in this order.
            velocity, target: of the pelvis in the ground plane, forward and left, m/s.
            succeeded: the time limit is reached and the walker stands.
        """
        squared = 0.0
        for activation in activations:
            squared += activation * activation
        self._effort += squared * STEP_S
        self._step_s += STEP_S
        self._deviation = (
            self._deviation[0] + (velocity[0] - target[0]) * STEP_S,
            self._deviation[1] + (velocity[1] - target[1]) * STEP_S,
        )
        self.terms = terms = dict.fromkeys(TERMS, 0.0)
        terms["alive"] = reward = ALIVE
        if self._new_footstep:
            terms["footstep"] = FOOTSTEP_WEIGHT * self._step_s
            terms["velocity"] = -VELOCITY_WEIGHT * float(np.linalg.norm(self._deviation))
            terms["effort"] = -EFFORT_WEIGHT * self._effort
            self._step_s = self._effort = 0.0
            self._deviation = (0.0, 0.0)
            reward += terms["footstep"] + terms["velocity"] + terms["effort"]
        if succeeded:
            # osim-rl adds to this the footstep term of a step that may never have been set, and
            # stops with UnboundLocalError; the bonus alone is what it meant to give.
            terms["bonus"] = SUCCESS_BONUS
            reward += SUCCESS_BONUS
        return reward

    def observe_contact(self, load: tuple[float, float]) -> None:
        """Note upward ground forces, N, on right and left foot; a foot set down now is rewarded
        with the next step, as in the original.
        """
        contact = (load[0] > CONTACT_LOAD_N, load[1] > CONTACT_LOAD_N)
        self._new_footstep = any(
            now and not before for now, before in zip(contact, self._contact, strict=True)
        )
        self.num_footsteps += self._new_footstep
        self._contact = contact
