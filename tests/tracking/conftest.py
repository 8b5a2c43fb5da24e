from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import Body, RunOnce, make_experiment

from tracking.observer import RunDirectoryObserver
from tracking.sacred_import import Run


@pytest.fixture
def run_once(tmp_path: Path) -> RunOnce:
    """Runs a body as a Sacred run under ``tmp_path / "runs"``; ``resume`` goes on with one."""

    def run(body: Body, resume: int | None = None, **options: Any) -> Run:
        experiment = make_experiment(body)
        experiment.observers.append(
            RunDirectoryObserver(tmp_path / "runs", resume, options.pop("hold", None))
        )
        return experiment.run(config_updates=options)

    return run
