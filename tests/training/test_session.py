"""What a config comes to before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from errors import ConfigError
from search.run_config import RunConfig
from training.session import check_overlap, is_reproducible, settled


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
