"""What a config comes to before anything runs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from errors import ConfigError
from search.loop import RunOutcome
from search.run_config import RunConfig
from search.totals import Totals
from training.beginning import Beginning
from training.session import (
    DEFAULT_VALIDATION_EPISODES,
    check_overlap,
    is_reproducible,
    loop_settings,
    result_of,
    settled,
)


def refusal(**changed: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        settled(RunConfig(env_name="Sphere-v0", **changed), notice=lambda line: None)
    return str(caught.value)


@pytest.mark.parametrize("pool", ["serial", "redis"])
def test_what_only_ray_has_is_refused_elsewhere(pool: str) -> None:
    assert "ray_address=auto is for pool=ray" in refusal(pool=pool, ray_address="auto")
    assert "ray_dashboard=True is for pool=ray" in refusal(pool=pool, ray_dashboard=True)


@pytest.mark.parametrize("elsewhere", [{"pool": "serial"}, {"pool": "ray"}, {"local": True}])
def test_an_audit_that_nobody_would_make_is_refused(elsewhere: dict[str, Any]) -> None:
    assert "audit_fraction=0.1 is for pool=redis" in refusal(audit_fraction=0.1, **elsewhere)


def test_two_pools_at_once_are_refused() -> None:
    assert "set one of them" in refusal(local=True, use_ray=True)


def test_the_dashboard_of_a_cluster_that_is_there_is_not_ours_to_show() -> None:
    assert "leave one of them out" in refusal(pool="ray", ray_address="auto", ray_dashboard=True)


def test_the_older_name_of_a_pool_has_its_options() -> None:
    config = RunConfig(env_name="Sphere-v0", use_ray=True, ray_address="auto")
    assert settled(config, notice=lambda line: None).pool == "ray"


def test_more_in_flight_than_a_search_bears_is_refused_by_what_was_given() -> None:
    config = RunConfig(env_name="Sphere-v0", tool="DE", asynchronous=True, pop_size=1500)
    config = settled(config, notice=lambda line: None)

    class Bearing:
        max_overlap = 1000

    with pytest.raises(ConfigError, match="pop_size=1500 asynchronous=True: at most 1001"):
        check_overlap(config, Bearing())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"tool": "CMA"}, True),
        ({"tool": "CMA", "asynchronous": True}, False),
        ({"tool": "CmaFmin2"}, False),
        ({"mixed_hardware": True}, False),
    ],
)
def test_what_does_not_come_out_alike_twice_says_so(
    changed: dict[str, Any], expected: bool
) -> None:
    assert is_reproducible(RunConfig(**changed)) is expected


def beginning(*, is_deterministic: bool) -> Beginning:
    return Beginning(np.zeros(3, dtype=np.float32), None, 100, 200, is_deterministic)


@pytest.mark.parametrize(
    ("is_deterministic", "recommend", "may_end_with_best"),
    [(True, "auto", True), (True, "best", True), (True, "tool", False), (False, "auto", False)],
)
def test_a_run_may_end_with_its_best_only_where_scores_are_no_luck(
    is_deterministic: bool, recommend: Literal["auto", "tool", "best"], may_end_with_best: bool
) -> None:
    config = RunConfig(env_name="Sphere-v0", recommend=recommend)
    found = loop_settings(config, "0" * 32, beginning(is_deterministic=is_deterministic))
    assert found.may_end_with_best == may_end_with_best


@pytest.mark.parametrize(
    ("is_deterministic", "given", "counts"),
    [
        (True, {}, (1, 1)),
        (False, {}, (DEFAULT_VALIDATION_EPISODES, DEFAULT_VALIDATION_EPISODES)),
        (True, {"validation_episodes": 4}, (4, 4)),
        (False, {"validation_episodes": 4, "final_episodes": 9}, (4, 9)),
        (False, {"final_episodes": 9}, (DEFAULT_VALIDATION_EPISODES, 9)),
    ],
)
def test_where_episodes_never_differ_one_measures_them_all(
    is_deterministic: bool, given: dict[str, int], counts: tuple[int, int]
) -> None:
    config = RunConfig(env_name="Sphere-v0", **given)
    found = loop_settings(config, "0" * 32, beginning(is_deterministic=is_deterministic))
    assert (found.num_validation, found.num_final) == counts


@pytest.mark.parametrize("host_failures", [0, 1])
@pytest.mark.parametrize("can_repeat", [True, False])
def test_a_run_with_failures_of_hosts_is_not_reproducible(
    host_failures: int, can_repeat: bool
) -> None:
    totals = Totals(host_failures=host_failures, current=5.0)
    theta = np.zeros(3, dtype=np.float32)
    outcome = RunOutcome("told", "num_generations", totals, theta, np.array([1.0, 2.0]))
    result = result_of(outcome, run_id=1, run_uid="0" * 32, is_reproducible=can_repeat)
    assert result["reproducible"] == (can_repeat and not host_failures)
    assert (result["fitness_current"], result["fitness_current_episodes"]) == (1.5, 2)
    untested = msgspec.structs.replace(outcome, final_fitness_v=np.empty(0))
    result = result_of(untested, run_id=1, run_uid="0" * 32, is_reproducible=can_repeat)
    assert (result["fitness_current"], result["fitness_current_episodes"]) == (5.0, 0)
