"""One episode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from env.registry import make
from env.rollout import EpisodeFailed, run_episode
from env.spec import EnvSpec
from env.wrappers import FrameSkip
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics


class Scripted(gym.Env[Any, Any]):
    """Observation and reward of each step as scripted; an exception in the script is raised."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def __init__(self, rewards, observations=None, terms=None, truncates=False) -> None:
        self.rewards = rewards
        self.observations = observations or [float(i) for i in range(len(rewards) + 1)]
        self.terms = terms
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        self.count = 0
        if isinstance(self.observations[0], Exception):
            raise self.observations[0]
        return np.array([self.observations[0]]), {}

    def step(self, action):
        reward = self.rewards[self.count]
        self.count += 1
        if isinstance(reward, Exception):
            raise reward
        info = {} if self.terms is None else {"reward_terms": self.terms[self.count - 1]}
        ends = self.count == len(self.rewards)
        observation = np.array([self.observations[self.count]])
        return observation, reward, ends and not self.truncates, ends and self.truncates, info


def run(env, spec: PolicySpec | None = None, **options):
    spec = spec or PolicySpec("linear")
    actor = build_actor(spec, env.observation_space, env.action_space)
    actor.load(initial_theta(spec, env.observation_space, env.action_space, 1), None)
    return run_episode(env, actor, **{"seed": 3, "policy_seed": 4, "max_steps": None} | options)


@pytest.mark.parametrize("truncates", [False, True])
def test_an_episode_sums_rewards_until_the_environment_ends_it(truncates):
    episode = run(Scripted([1.0, -2.5, 4.0], truncates=truncates))
    assert (episode.fitness, episode.length) == (2.5, 3)
    assert episode.statistics is None
    assert episode.terms == {}


def test_an_episode_ends_at_the_cap():
    assert run(Scripted([1.0] * 9), max_steps=4).length == 4
    assert run(Scripted([1.0] * 3), max_steps=4).length == 3


def test_rewards_add_up_in_double_precision_whatever_their_type():
    small = np.float32(1e-3)
    episode = run(Scripted([np.float32(2**20), *[small] * 10]))
    assert episode.fitness == pytest.approx(2**20 + 10 * float(small), abs=1e-6)
    assert type(episode.fitness) is float


def test_reward_terms_add_up_by_name():
    terms = [{"alive": 1.0, "effort": -0.5}, {"alive": 1.0}, {"alive": 1.0, "bonus": 10}]
    episode = run(Scripted([0.5, 1.0, 11.0], terms=terms))
    assert episode.terms == {"alive": 3.0, "effort": -0.5, "bonus": 10.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_or_observation_that_is_no_number_fails_the_episode(bad):
    with pytest.raises(EpisodeFailed, match="reward is NaN or infinite"):
        run(Scripted([1.0, bad, 1.0]))
    for step in range(4):
        observations = [0.0, 1.0, 2.0, 3.0]
        observations[step] = bad
        with pytest.raises(EpisodeFailed, match="observation is NaN or infinite"):
            run(Scripted([1.0, 1.0, 1.0], observations))


def test_infinities_that_cancel_do_not_hide_each_other():
    with pytest.raises(EpisodeFailed):
        run(Scripted([np.inf, -np.inf, 1.0]))
    with pytest.raises(EpisodeFailed):
        run(Scripted([1.0, 1.0], [np.inf, -np.inf, 0.0]))


@pytest.mark.parametrize(
    "env",
    [
        Scripted([1.0, RuntimeError("integrator gave up\nat t=3")]),
        Scripted([1.0], [ValueError("integrator gave up"), 0.0]),
        Scripted([1.0, "integrator gave up"]),
    ],
    ids=["step", "reset", "reward"],
)
def test_an_environment_that_raises_fails_the_episode_with_one_line(env):
    with pytest.raises(EpisodeFailed, match="integrator gave up") as failed:
        run(env)
    assert "\n" not in str(failed.value)


def test_an_observation_of_an_undeclared_shape_fails_the_episode():
    env = Scripted([1.0, 1.0])
    env.observation_space = spaces.Box(-1, 1, (4,), np.float64)  # (1,) would broadcast
    with pytest.raises(EpisodeFailed, match="declares"):
        run(env)


def test_statistics_are_of_the_observations_that_were_acted_on():
    episode = run(Scripted([1.0] * 4, [1.0, 5.0, 2.0, 8.0, 1000.0]), observe=True)
    assert episode.statistics == ObservationStatistics.observed([[1.0], [5.0], [2.0], [8.0]])


def test_observing_changes_nothing_else():
    env = make(EnvSpec("LunarLanderContinuous-v3"))
    plain, observed = (run(env, max_steps=200, observe=observe) for observe in (False, True))
    assert (plain.fitness, plain.length) == (observed.fitness, observed.length)
    assert observed.statistics is not None
    assert observed.statistics.count == observed.length


def test_statistics_of_discrete_observations_are_of_their_one_hot_vectors():
    env = make(EnvSpec("FrozenLake-v1"))
    spec = PolicySpec("linear")
    statistics = run(env, spec, observe=True, max_steps=50).statistics
    assert statistics is not None
    assert statistics.mean_o.shape == (16,)
    assert statistics.mean_o.sum() == pytest.approx(1.0)


def test_length_and_cap_count_simulator_steps_under_frame_skip():
    episode = run(FrameSkip(Scripted([1.0] * 30), 4), frame_skip=4, max_steps=10)
    assert (episode.fitness, episode.length) == (10.0, 10)
    episode = run(FrameSkip(Scripted([1.0] * 7), 4), frame_skip=4)
    assert (episode.fitness, episode.length) == (7.0, 7)


def test_a_frame_skip_that_the_environment_was_not_made_with_is_a_defect():
    with pytest.raises(ValueError, match="frame_skip=2"):
        run(Scripted([1.0]), frame_skip=2)


def test_the_policy_s_noise_follows_from_its_seed_alone():
    env = make(EnvSpec("Pendulum-v1"))
    spec = PolicySpec("feed_forward", (4,), output_activation="gaussian")
    first, again, other = (
        run(env, spec, policy_seed=policy_seed, max_steps=50).fitness for policy_seed in (1, 1, 2)
    )
    assert first == again != other


def test_recurrent_policies_start_each_episode_without_memory():
    env = make(EnvSpec("PartiallyObservablePendulum-v0"))
    spec = PolicySpec("lstm", (8,))
    actor = build_actor(spec, env.observation_space, env.action_space)
    actor.load(initial_theta(spec, env.observation_space, env.action_space, 1), None)
    options: dict[str, Any] = {"seed": 1, "policy_seed": 1, "max_steps": 100}
    fitness = [run_episode(env, actor, **options).fitness for _ in range(3)]
    assert len(set(fitness)) == 1
