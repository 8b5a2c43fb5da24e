"""A child that hangs where no rollout runs is found out too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_fleet import INCLUDE, generation_of, wait_for
from real_machine import Site

from fleet.machine.guard import ChildOptions, Guard
from fleet.machine.slot import Building, Bulletin, Doing, Slot, State
from search.messages import GuardSpec, RecordBatch


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.opened(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("what", ["building", "closing"])
def test_an_environment_that_is_never_built_or_closed_does_not_hold_its_worker(
    site: Site, what: str
) -> None:
    name = "defects:Stillborn-v0" if what == "building" else "endless:Clinging-v0"
    options: dict[str, Any] = {"end": "hang"} if what == "building" else {}
    experiment = site.experiment(name, GuardSpec(rollout_timeout_s=100), **options)
    ahead_s = 0.0
    heard: list[str] = []
    reported: list[RecordBatch] = []
    guard = Guard(
        "worker-0",
        ChildOptions(site.url, INCLUDE, site.folder),
        reported.append,
        heard.append,
        clock=lambda: time.monotonic() + ahead_s,
    )
    try:
        with site.pool(experiment) as (pool, _):

            def at_it() -> bool:
                guard.tend()
                pool.results(0.01)
                building = guard.state.building
                if building is None and guard.state.run_uid and what == "closing":
                    pool.shutdown()  # the run is over
                return building is not None and building.what == what

            wait_for(at_it, f"it to begin {what}")
            first = guard.pid
            assert not heard
            ahead_s = 1000.0
            wait_for(lambda: tended(guard).deaths, "it to be killed")
        limit = "120" if what == "building" else "20"
        how = f"took longer than {limit} s while {what} environment {name}"
        assert guard.beat().last_error == f"worker worker-0 {how}"
        assert heard == [f"worker worker-0 died: {how}"]
        assert not reported
        wait_for(lambda: tended(guard).pid not in (None, first), "its successor")
    finally:
        guard.stop(0.0)
        guard.close()


def tended(guard: Guard) -> Guard:
    guard.tend()
    return guard


def test_a_slot_carries_words_both_ways() -> None:
    parents = Slot.create()
    try:
        bulletin = Bulletin(Slot(parents.fd))
        digest = generation_of().run_uid
        doing = Doing("a" * 32, 1, "b" * 32, 0, 7, 0, 3, 1, 5.0, 60.0)
        disowned = bulletin.disowned("b" * 32)
        bulletin.serve("a" * 32, Building("a" * 32, "Lander", 1.0, 2.0))
        assert parents.read() == State(
            run_uid="a" * 32, building=Building("a" * 32, "Lander", 1.0, 2.0)
        )
        assert bulletin.count(10, "the knee") == 1
        assert bulletin.count(20) == 2
        bulletin.show(doing)
        assert parents.read() == State(2, 30, 1, "a" * 32, doing, last_error="the knee")
        assert not disowned()
        parents.disown(digest)
        assert not disowned()
        parents.disown("b" * 32)
        assert disowned()
        assert parents.read() is not None
        parents.disown(None)
        assert not disowned()
        bulletin.refuse("x" * 5000)
        assert parents.read() == State(2, 30, 1, refusal="x" * 500, last_error="the knee")
    finally:
        parents.close()
