"""Presets: how exactly an OpenSim environment is integrated, for good or for one episode."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opensim")
pytest.importorskip("osim")

from env.musculoskeletal.integration import PRESETS, Integration, choose_integration
from env.musculoskeletal.walk2d import Walk2D
from env.registry import make, score_options
from env.rollout import run_episode
from env.spec import EnvSpec
from errors import ConfigError
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec

NUM_STEPS = 8


@pytest.fixture(scope="module")
def exact() -> Walk2D:
    return Walk2D()


@pytest.fixture(scope="module")
def fast() -> Walk2D:
    return Walk2D(preset="fast")


def episode(env: Walk2D, **options: object) -> bytes:
    rows = [env.reset(seed=0, options=options)[0]]
    for action in np.random.default_rng(7).uniform(0, 0.6, (NUM_STEPS, 22)):
        rows.append(env.step(action)[0])
    return b"".join(row.tobytes() for row in rows)


def test_a_preset_of_reset_is_that_of_an_env_made_with_it_to_the_bit(
    exact: Walk2D, fast: Walk2D
) -> None:
    as_exact, as_fast = episode(exact), episode(fast)
    assert as_exact != as_fast
    assert episode(fast, preset="exact") == as_exact
    assert episode(exact, preset="fast") == as_fast


def test_a_preset_of_reset_holds_for_one_episode(exact: Walk2D) -> None:
    before = episode(exact)
    episode(exact, preset="fast")
    assert episode(exact) == before


def test_presets_lead_to_nearly_the_same_place(exact: Walk2D, fast: Walk2D) -> None:
    ends = []
    for env in (exact, fast):
        episode(env)
        ends.append((env.distance_m, env._walker.position[1]))
    assert ends[0] == pytest.approx(ends[1], abs=2e-3)


def test_exact_is_what_osim_rl_has() -> None:
    assert PRESETS["exact"] == Integration("RungeKuttaMerson", 5e-5)
    assert choose_integration() == PRESETS["exact"]


def test_integrator_and_accuracy_stand_instead_of_the_presets(fast: Walk2D) -> None:
    assert choose_integration("fast", accuracy=1e-2) == Integration("SemiExplicitEuler2", 1e-2)
    assert choose_integration("fast", "Verlet") == Integration("Verlet", 1e-3)
    by_options = Walk2D(integrator="SemiExplicitEuler2", accuracy=1e-3)
    assert episode(by_options) == episode(fast)


def test_scores_are_stated_at_exact_whatever_the_search_uses(exact: Walk2D) -> None:
    spec = EnvSpec("OpenSimWalk2D-v0", {"preset": "fast"})
    env = make(spec)
    policy = PolicySpec("feed_forward", (4,))
    actor = build_actor(policy, env.observation_space, env.action_space)
    actor.load(initial_theta(policy, env.observation_space, env.action_space, 2), None)
    seeds = {"seed": 0, "policy_seed": 0, "max_steps": 20}
    scored = run_episode(env, actor, **seeds, reset_options=score_options(spec))
    assert scored.fitness == run_episode(exact, actor, **seeds).fitness
    assert scored.fitness != run_episode(env, actor, **seeds).fitness


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "fst"}, "unknown preset 'fst'; did you mean fast"),
        ({"preset": "exact", "integrator": "Euler"}, "unknown integrator 'Euler'"),
        ({"accuracy": -1}, "accuracy=-1"),
        ({"preste": "fast"}, "reset options preste of an OpenSim environment"),
    ],
)
def test_a_bad_option_of_reset_is_one_line(exact: Walk2D, options: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        exact.reset(options=options)  # type: ignore[arg-type]
