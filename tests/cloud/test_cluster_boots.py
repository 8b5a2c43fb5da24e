"""A cluster by our commands, on machines that really boot: the short form, for the gate."""

from __future__ import annotations

from pathlib import Path

import pytest
from aws_user import AwsUser
from cloud_conditions import PLACES
from forbidden_calls import not_refused
from left_in_account import left_of
from simulated_cloud import SimulatedCloud


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_apart", PLACES)
def test_a_cluster_trains_is_followed_and_when_it_is_killed_nothing_is_left(
    tmp_path: Path, is_apart: bool
) -> None:
    with SimulatedCloud(tmp_path / "machines", is_apart=is_apart) as cloud:
        user = AwsUser(cloud, tmp_path / "user")
        user.sets_up()
        user.launches("first", "sphere num_generations=100000 pop_size=8", "--size=1")
        assert left_of(cloud.moto, "first")
        user.waits_for("first", generation=3, workers=1)

        head, worker = (user.machine("first", role) for role in ("head", "worker"))
        assert "Redis at" in user.types("manage", "tail", "first", "--no_follow", "--lines=1000")
        said = user.types("manage", "tail", "first", "--worker=0", "--no_follow", "--lines=1000")
        assert f"working for {head.name} at {head.address}" in said
        assert "walking-es: booted" in said  # what it said before any service ran, too

        for machine in (head, worker):
            keys = machine.metadata.keys or {}
            assert not not_refused(cloud.moto.endpoint, keys, *user.code())

        user.types("manage", "kill", "first", "--yes")
        cloud.wait_for(lambda: not cloud.running, "the machines' end")
        for machine in (head, worker):
            assert not machine.processes()
        assert not left_of(cloud.moto, "first")
