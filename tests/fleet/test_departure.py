"""A worker that is asked to leave never leaves with a task that nobody knows it has."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_fleet import INCLUDE, collect, generation_of, said, wait_for
from real_machine import Site

from fleet import heartbeat
from fleet.machine.departure import Departure, Leave
from fleet.provision import local_workers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.opened(tmp_path) as opened:
        yield opened


def test_who_is_asked_leaves_at_once() -> None:
    with pytest.raises(Leave) as left:
        Departure().ask()
    assert left.value.code == 0


@pytest.mark.parametrize("trouble", [None, ConnectionError()])
def test_who_is_held_up_leaves_when_it_is_no_longer(trouble: Exception | None) -> None:
    departure = Departure()
    reached = False

    def hold() -> None:
        nonlocal reached
        with departure.held():
            departure.ask()
            reached = True
            if trouble is not None:
                raise trouble

    with pytest.raises(Leave):
        hold()
    assert reached


def test_a_task_that_comes_to_a_worker_on_its_way_out_is_given_back(site: Site) -> None:
    experiment = site.experiment()
    generation = generation_of(experiment.run_uid)
    with (
        site.pool(experiment) as (pool, client),
        local_workers(
            1, site.url, log=site.folder / "log", include=INCLUDE, noise_dir=site.folder
        ) as supervisor,
    ):

        def waits() -> list[int]:
            assert pool.results(0.01) == []
            beats = [worker for beat in heartbeat.fresh(client) for worker in beat.workers]
            children = children_of(supervisor.pid)
            return children if any(beat.run_uid for beat in beats) else []

        (child,) = wait_for(waits, "a worker that waits for work")
        os.kill(child, signal.SIGTERM)
        pool.open(generation)
        (answers,) = collect(pool, generation)
        assert pool.status().lost == 0
        assert child not in children_of(supervisor.pid)
    wanted = site.wanted(experiment, generation)
    assert {r: said(record) for r, record in answers.items()} == wanted


def children_of(pid: int) -> list[int]:
    """Without those of other names: the supervisor is a Python too."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
