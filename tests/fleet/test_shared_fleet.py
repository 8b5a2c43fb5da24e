"""Several live runs on one Redis: workers divide themselves among them, and finish each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from real_fleet import INCLUDE, collect, generation_of, said, wait_for
from real_machine import Site

from fleet import heartbeat
from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.opened(tmp_path) as opened:
        yield opened


def test_workers_even_themselves_out_over_the_runs_and_gather_at_the_last(site: Site) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(connect(site.url))
        log = site.folder / "log"
        stack.enter_context(
            local_workers(4, site.url, log=log, include=INCLUDE, noise_dir=site.folder)
        )
        pools: list[RedisPool] = []

        def served() -> Counter[str]:
            """Workers by the run that they serve; heads beat meanwhile."""
            for pool in pools:
                assert pool.results(0.01) == []
            beats = [worker for beat in heartbeat.fresh(client) for worker in beat.workers]
            return Counter(beat.run_uid for beat in beats if beat.run_uid)

        experiments = [site.experiment() for _ in range(2)]
        first, second = (experiment.run_uid for experiment in experiments)
        pools.append(RedisPool(client, experiments[0]))
        stack.callback(pools[0].shutdown)
        wait_for(lambda: served() == {first: 4}, "all to serve the only run")
        pools.append(RedisPool(client, experiments[1]))
        wait_for(lambda: served() == {first: 2, second: 2}, "half of them to move")
        for pool, experiment in zip(pools, experiments, strict=True):
            generation = generation_of(experiment.run_uid)
            pool.open(generation)
            (answers,) = collect(pool, generation)
            wanted = site.wanted(experiment, generation)
            assert {r: said(record) for r, record in answers.items()} == wanted
        pools.pop().shutdown()
        wait_for(lambda: served() == {first: 4}, "all to come back")
        assert "Traceback" not in log.read_text()
