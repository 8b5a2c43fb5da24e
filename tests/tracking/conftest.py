from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.database import Database
from recorded_run import recorded
from tiny_experiment import Body, RunOnce, make_experiment

from tracking.mongo.connection import connected
from tracking.mongo.place import MongoPlace, parse_place
from tracking.observer import RunDirectoryObserver
from tracking.sacred_import import Run

if TYPE_CHECKING:
    from tracking.mongo.server import MongoServer


@pytest.fixture
def place(mongod: MongoServer, mongo_database: str) -> MongoPlace:
    """A database of a real MongoDB that no other test sees."""
    return replace(parse_place(mongod.url_of(mongo_database), "test"), password=mongod.password)


@pytest.fixture
def database(place: MongoPlace) -> Iterator[Database[dict[str, Any]]]:
    """The same, open."""
    with connected(place) as found:
        yield found


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


@pytest.fixture
def directory(run_once: RunOnce, tmp_path: Path) -> Path:
    """Of a run with metrics, checkpoints, a video, notices and a journal."""
    run_once(recorded, seed=11)
    return tmp_path / "runs" / "1"
