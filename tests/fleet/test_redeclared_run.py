"""A head that resumes a run may have other code than the one before it: workers look again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from real_fleet import INCLUDE, collect, generation_of, said, wait_for
from real_machine import Site

from fleet import heartbeat, keys
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from search.messages import Experiment, GuardSpec


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.opened(tmp_path) as opened:
        yield opened


def one_generation_and_a_dead_head(site: Site, experiment: Experiment) -> None:
    """As kill -9 leaves it: nothing is withdrawn."""
    with connect(site.url) as client:
        pool = RedisPool(client, experiment)
        generation = generation_of(experiment.run_uid)
        pool.open(generation)
        collect(pool, generation)
        pool.close(0)
        client.delete(keys.head(experiment.run_uid))


def test_workers_of_other_code_answer_nothing_to_a_head_that_resumes_at_once(site: Site) -> None:
    experiment = site.experiment()
    with local_workers(
        1, site.url, log=site.folder / "log", include=INCLUDE, noise_dir=site.folder
    ):
        one_generation_and_a_dead_head(site, experiment)
        with site.pool(msgspec.structs.replace(experiment, code_version="newer")) as (pool, client):
            pool.open(generation_of(experiment.run_uid, number=1))

            def refusals() -> list[str]:
                assert pool.results(0.01) == []
                beats = heartbeat.fresh(client)
                return [one.refusal for beat in beats for one in beat.workers if one.refusal]

            (refusal,) = wait_for(refusals, "a refusal")
            assert "the head runs code newer" in refusal
            assert pool.status().lost == 0


def test_workers_take_up_what_a_head_that_resumes_has_changed(site: Site) -> None:
    experiment = site.experiment()
    with local_workers(
        1, site.url, log=site.folder / "log", include=INCLUDE, noise_dir=site.folder
    ):
        one_generation_and_a_dead_head(site, experiment)
        patient = msgspec.structs.replace(experiment, guard=GuardSpec(rollout_timeout_s=77))
        with site.pool(patient) as (pool, _):
            generation = generation_of(experiment.run_uid, number=1)
            pool.open(generation)
            (answers,) = collect(pool, generation)
    wanted = site.wanted(experiment, generation)
    assert {r: said(record) for r, record in answers.items()} == wanted
