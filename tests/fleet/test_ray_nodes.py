"""Nodes of a Ray cluster come and go while a run is at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from real_fleet import (
    INCLUDE,
    collect,
    expected,
    experiment_of,
    generation_of,
    of_run,
    said,
    seeds_of,
    wait_for,
)

from search.noise import open_table

NODE = Path(__file__).with_name("ray_node.py")


@contextmanager
def node(num_cpus: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another node of the cluster that this process is connected to, in a session of its own."""
    import ray

    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen(
        [sys.executable, str(NODE), address, str(num_cpus)], start_new_session=True
    )
    try:
        yield process
    finally:
        vanish(process)


def vanish(process: subprocess.Popen[bytes]) -> None:
    """All of the node at once, as when a spot machine is taken away."""
    if process.poll() is None:
        # Ray's workers have groups of their own, and would go on until they miss their node.
        for one in [*psutil.Process(process.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_node_that_joins_is_used_and_one_that_leaves_takes_no_result_with_it(
    tmp_path: Path, local_ray: None
) -> None:
    from fleet.actors.ray_pool import RayPool

    calm = generation_of(pairs=8)
    with open_table(1, 10_000, tmp_path) as noise:
        # Every actor comes to wait, so that the node dies with a rollout in its hands.
        experiment = experiment_of(
            noise.spec, kind="wait", seeds=seeds_of(calm, range(16)), folder=str(tmp_path), times=3
        )
        generation = of_run(calm, experiment)
        pool = RayPool(experiment, workers="auto", include=INCLUDE, noise_dir=tmp_path)
        try:
            with node(1) as joined:

                def are_there(num_workers: int) -> bool:
                    return not pool.results(0.1) and pool.status().num_workers == num_workers

                wait_for(lambda: are_there(3), "the node's actor")
                its_processes = psutil.Process(joined.pid).children(recursive=True)
                assert sum("EvaluationActor" in p.cmdline()[0] for p in its_processes) == 1
                pool.open(generation)
                wait_for(
                    lambda: not pool.results(0.1) and len(list(tmp_path.glob("waiting-*"))) == 3,
                    "all to wait",
                )
                vanish(joined)
                (tmp_path / "go").touch()
                (answers,) = collect(pool, generation)
            assert pool.status().lost >= 1
            _, alive = psutil.wait_procs(its_processes, timeout=15)
            assert not alive
        finally:
            pool.shutdown()
        found = {rollout: said(record) for rollout, record in answers.items()}
        assert found == expected(experiment, generation, noise)
