"""What is measured by rollouts, and the run that makes them: an environment, a policy, a search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from measured_run.experiment import experiment_with
from numpy.typing import NDArray

from env import registry
from env.spec import EnvSpec
from es.openai_es import OpenAIES
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from search.messages import Experiment, NoiseSpec, SeedRule
from search.noise import NoiseTable
from search.run_state import RunState
from search.settings import LoopSettings

RUN_UID = "b" * 32
SIGMA = 1e-3
LR = 1e-6


class Setting(NamedTuple):
    """An environment, its policy, and how large a generation is.

    Attributes:
        max_steps: cap of an episode, in simulator steps.
        pop_size: candidates of a generation.
        num_validation: episodes of theta itself beside them.
        bare_episodes: how many different ones the bare loops replay.
        target: least ratio to the bare loops.
        evotorch_target: least ratio to EvoTorch; ``None`` where it is not measured.
    """

    env: EnvSpec
    policy: PolicySpec
    max_steps: int
    pop_size: int
    num_validation: int
    bare_episodes: int
    target: float
    evotorch_target: float | None = None


SETTINGS = {
    "LunarLanderContinuous-v3": Setting(
        EnvSpec("LunarLanderContinuous-v3"), PolicySpec(), 1000, 100, 10, 40, 0.75, 3.5
    ),
    "HalfCheetah-v5": Setting(EnvSpec("HalfCheetah-v5"), PolicySpec(), 1000, 40, 4, 4, 0.80, 2.7),
    "OpenSimWalk2D-v0": Setting(
        EnvSpec("OpenSimWalk2D-v0", options={"integrator": "SemiExplicitEuler2", "accuracy": 1e-3}),
        PolicySpec("reflex", ()),
        50,  # a slow simulator: short episodes, or the contenders would take turns by minutes
        20,
        0,
        1,
        0.95,
    ),
}


def first_theta(setting: Setting) -> NDArray[np.float32]:
    """``(D,)`` float32, which every contender's policy has, or stays close to."""
    env = registry.make(setting.env)
    theta = initial_theta(setting.policy, env.observation_space, env.action_space, seed=1)
    env.close()
    return theta


def experiment_of(setting: Setting, noise: NoiseSpec) -> Experiment:
    """The run, as its workers are told."""
    return experiment_with(RUN_UID, setting.env, setting.policy, noise)


def state_of(setting: Setting, noise: NoiseTable) -> RunState:
    """A search whose candidates hardly leave the policy it begins with, and never ends."""
    return search_from(
        first_theta(setting),
        noise,
        pop_size=setting.pop_size,
        max_steps=setting.max_steps,
        num_validation=setting.num_validation,
    )


def search_from(
    theta: NDArray[np.float32],
    noise: NoiseTable,
    *,
    pop_size: int,
    max_steps: int,
    sigma: float = SIGMA,
    num_validation: int = 0,
    overlap: int = 0,
) -> RunState:
    """OpenAI-ES that hardly learns, so that its episodes stay of one kind, and never ends."""
    strategy = OpenAIES(
        theta, noise, run_seed=1, pop_size=pop_size, sigma=sigma, lr=LR, optimizer="adam"
    )
    settings = LoopSettings(
        run_uid=RUN_UID,
        seeds=SeedRule(1),
        num_generations=10**6,
        num_validation=num_validation,
        num_final=0,
        max_ep_length=max_steps,
        num_checkpoints=0,
        overlap=overlap,
    )
    return RunState(strategy, settings, None)
