"""The rewards of the 2019 walk-around challenge's two rounds, step by step.

Song et al., "Deep reinforcement learning for modeling human locomotion control in
neuromechanical simulation", J. NeuroEng. Rehabil. 18:126 (2021), section on the reward; the
constants are those of osim-rl 3.0.11, ``L2M2019Env.get_reward_1`` and ``get_reward_2``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from env.musculoskeletal.model import STEP_S
from env.musculoskeletal.state import GRAVITY_M_S2, WALKER_MASS_KG

ALIVE = 0.1
FOOTSTEP_WEIGHT = 10.0
VELOCITY_WEIGHTS = {1: 1.0, 2: 3.0}
"""By round of the challenge."""
EFFORT_WEIGHT = 1.0
SUCCESS_BONUS = 10.0
TARGET_BONUS = 500.0
STEPS_TO_SUCCEED = 5
CONTACT_LOAD_N = 0.05 * (WALKER_MASS_KG * GRAVITY_M_S2)

TERMS = {
    1: ("alive", "footstep", "velocity", "effort", "bonus"),
    2: ("alive", "footstep", "velocity", "effort", "target"),
}
"""Summands of the reward, by round of the challenge."""


class FootstepReward:
    """Rewards time spent stepping, and at each new footstep charges what the step cost.

    Attributes:
        num_footsteps: feet set down since `reset`.
        terms: the last reward, term by term (`TERMS`).

    Args:
        challenge_round: 1, with a bonus for standing at the time limit, or 2, with one for each
            target reached and three times the weight on velocity.
    """

    def __init__(self, challenge_round: int = 1) -> None:
        self._names = TERMS[challenge_round]
        self._velocity_weight = VELOCITY_WEIGHTS[challenge_round]
        self._is_second = challenge_round == 2
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
        self.terms = dict.fromkeys(self._names, 0.0)

    def step(
        self,
        activations: Sequence[float],
        velocity: tuple[float, float],
        target: tuple[float, float],
        *,
        succeeded: bool,
        reached: bool = False,
    ) -> float:
        """The reward of one step of `STEP_S`.

        Args:
            activations: of all muscles; summed in this order.
            velocity, target: of the pelvis in the ground plane, forward and left, m/s.
            succeeded: the time limit is reached and the walker stands.
            reached: it had stayed at its target for long enough when this step began.
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
        self.terms = terms = dict.fromkeys(self._names, 0.0)
        terms["alive"] = reward = ALIVE
        # The second round pays the last, unfinished step too, to one who has walked.
        walked = self._is_second and succeeded and self.num_footsteps > STEPS_TO_SUCCEED
        if self._new_footstep or walked:
            reward += self._close_footstep()
        if self._is_second:
            if reached:
                terms["target"] = TARGET_BONUS
                reward += TARGET_BONUS
        elif succeeded:
            # osim-rl adds to this the footstep term of a step that may never have been set, and
            # stops with UnboundLocalError; the bonus alone is what it meant to give.
            terms["bonus"] = SUCCESS_BONUS
            reward += SUCCESS_BONUS
        return reward

    def _close_footstep(self) -> float:
        """Pay and charge for the step that ends here, and begin the next."""
        terms = self.terms
        terms["footstep"] = FOOTSTEP_WEIGHT * self._step_s
        terms["velocity"] = -self._velocity_weight * float(np.linalg.norm(self._deviation))
        terms["effort"] = -EFFORT_WEIGHT * self._effort
        self._step_s = self._effort = 0.0
        self._deviation = (0.0, 0.0)
        return terms["footstep"] + terms["velocity"] + terms["effort"]

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
