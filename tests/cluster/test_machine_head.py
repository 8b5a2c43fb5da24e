"""The head's program: it trains, keeps the run, goes on with it, and ends everything."""

from __future__ import annotations

from pathlib import Path

from local_machines import SPHERE, Machines


def test_a_cluster_trains_to_the_end_and_ends_itself(tmp_path: Path) -> None:
    with Machines(tmp_path, config=(*SPHERE, "num_generations=5")) as machines:
        head, worker = machines.start("head"), machines.start("worker-0")
        machines.wait_for(lambda: head.poll() is not None, "the head's end")
        assert head.returncode == 0, machines.said("head")
        ended = machines.ended()
        assert ended is not None
        assert (ended.why, ended.exit_code) == ("completed", 0)
        assert machines.result()["generations"] == 5
        machines.wait_for(lambda: worker.poll() is not None, "the worker's end")
        assert worker.returncode == 0, machines.said("worker-0")
        progress = machines.progress()
        assert progress is not None
        assert (progress.run_id, progress.generation) == (1, 4)
        said = machines.said("head") + machines.said("worker-0")
        assert "password-of-this-test" not in said
