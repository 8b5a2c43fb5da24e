"""A user's own reward function, by config."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env.musculoskeletal.own_reward import own_terms
from env.registry import make
from env.rollout import EpisodeFailed, run_episode
from env.spec import EnvSpec
from errors import ConfigError
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

INCLUDE = Path(__file__).parent / "include"


def walker(reward: str, name: str = "OpenSimWalk2D-v0", **options: object):
    spec = EnvSpec(name, {"reward": f"own_rewards:{reward}", "preset": "fast", **options})
    return make(spec, include=INCLUDE)


def test_one_number_is_the_reward_and_a_term() -> None:
    env = walker("forward")
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.full(22, 0.1))
    assert reward == pytest.approx(info["distance_m"] - 0.01)
    assert info["reward_terms"] == {"own": reward}


def test_numbers_by_name_are_terms_and_may_build_on_the_environments_own() -> None:
    env = walker("in_terms")
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.full(22, 0.5))
    assert info["reward_terms"] == {"alive": pytest.approx(0.2), "lazy": pytest.approx(-11)}
    assert reward == pytest.approx(-10.8)


def test_a_function_with_a_memory_starts_anew_with_every_episode() -> None:
    env = walker("progress")
    totals = []
    for steps in (3, 5, 3):
        env.reset(seed=0)
        totals.append([env.step(np.full(22, 0.1))[1] for _ in range(steps)])
    assert totals[0] == totals[2] == totals[1][:3]


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        ("raises", "reward function raises raised KeyError: .*no such muscle"),
        ("nothing", "reward function nothing answered 'None': expected a finite number"),
        ("empty", "reward function empty answered '{}'"),
        ("text", "reward function text answered '1.0'"),
        ("truth", "reward function truth answered 'True'"),
        ("infinite", "reward function infinite answered .*'height': inf"),
        ("not_a_function", "has no function 'not_a_function'"),
        ("misspelt", "has no function 'misspelt'"),
    ],
)
def test_a_function_that_cannot_work_is_one_line_before_anything_runs(
    reward: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        walker(reward)
    assert "\n" not in str(caught.value)


def test_one_that_goes_wrong_later_fails_its_episode_in_one_line() -> None:
    env = walker("bad_later")
    spec = PolicySpec("feed_forward", (4,))
    actor = build_actor(spec, env.observation_space, env.action_space)
    actor.load(initial_theta(spec, env.observation_space, env.action_space, 2), None)
    with pytest.raises(EpisodeFailed, match="bad_later answered 'nan'") as caught:
        run_episode(env, actor, seed=0, policy_seed=0, max_steps=3)
    assert "\n" not in str(caught.value)


def test_it_needs_the_folder_that_it_is_in() -> None:
    spec = EnvSpec("OpenSimWalk2D-v0", {"reward": "own_rewards:forward"})
    with pytest.raises(ConfigError, match="add include=FOLDER"):
        make(spec)
    with pytest.raises(ConfigError, match="write module:function"):
        make(EnvSpec("OpenSimWalk2D-v0", {"reward": "own_rewards"}), include=INCLUDE)


def test_numbers_of_numpy_are_numbers() -> None:
    moment = SimpleNamespace()
    terms = own_terms(lambda _: {"a": np.float32(0.5), "b": np.int64(2)}, moment)  # type: ignore
    assert terms == {"a": 0.5, "b": 2.0}
    assert [type(value) for value in terms.values()] == [float, float]
