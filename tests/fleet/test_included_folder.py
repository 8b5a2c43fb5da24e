"""A user's own folder that nobody named: each command says how it is named there."""

from __future__ import annotations

from pathlib import Path

from real_fleet import generation_of, wait_for
from real_machine import Site

from errors import ConfigError, in_options
from fleet import heartbeat


def test_a_worker_asks_for_the_option_that_it_has_itself(tmp_path: Path) -> None:
    with Site.opened(tmp_path) as site:
        experiment = site.experiment("trouble:Trouble-v0")
        words = ("start-workers", "--num_workers=1", f"--redis_url={site.url}")
        with site.machine(*words, f"--noise_dir={tmp_path}"), site.pool(experiment) as (pool, head):
            pool.open(generation_of(experiment.run_uid))

            def refusals() -> list[str]:
                pool.results(0.01)
                beats = [worker for beat in heartbeat.fresh(head) for worker in beat.workers]
                return [worker.refusal for worker in beats if worker.refusal]

            (refusal,) = wait_for(refusals, "a refusal")
    assert "module trouble is code of your own" in refusal
    assert refusal.endswith("add --include FOLDER")


def test_what_says_nothing_of_a_folder_stays_as_it_is() -> None:
    assert in_options(ConfigError("sigma=-1: expected above 0")) == "sigma=-1: expected above 0"
