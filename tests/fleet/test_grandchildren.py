"""What a worker's environment has started ends with the worker, however all of it is ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from real_fleet import DEADLINE_S, generation_of, wait_for
from real_machine import Machine, Site


@pytest.mark.parametrize(
    ("command", "victim"),
    [("workers", "supervisor"), *(("start-workers", who) for who in ("supervisor", "child", ""))],
)
def test_nothing_that_an_environment_has_started_outlives_its_worker(
    tmp_path: Path, command: str, victim: str
) -> None:
    with Site.opened(tmp_path) as site:
        experiment = site.experiment("nursery:Nursery-v0")
        words = [*site.words(1)]
        if command == "start-workers":
            words = [command, "--num_workers=1", f"--redis_url={site.url}", *site.folders]
        with site.machine(*words) as machine, site.pool(experiment) as (pool, _):
            pool.open(generation_of(experiment.run_uid))

            def starters() -> list[Path]:
                pool.results(0.01)
                return list(tmp_path.glob("started-by-*"))

            (file,) = wait_for(starters, "a process of the environment's own")
            starter = psutil.Process(int(file.name.rpartition("-")[2]))
            family = [starter, *starter.children(recursive=True)]
            assert int(file.read_text()) in {process.pid for process in family}
            end(machine, starter, victim)
            _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
            assert not alive


def end(machine: Machine, starter: psutil.Process, victim: str) -> None:
    if victim == "supervisor":
        machine.process.kill()
        machine.process.wait()
    elif victim == "child":
        os.kill(starter.pid, signal.SIGKILL)
    else:
        machine.end()
