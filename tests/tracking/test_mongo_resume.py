"""A run that MongoDB alone has, resumed from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import CONFIG, make_experiment

from tracking.mongo.connection import connected
from tracking.mongo.mirror import Mirror
from tracking.mongo.place import MongoPlace
from tracking.sacred_command import run_command


def test_what_was_found_in_one_mongodb_comes_home_from_there(
    place: MongoPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was recorded with ``mongo_url=off``, which its config says still."""
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []

    def command(*words: str) -> int:
        def find(settings: Mapping[str, Any]) -> MongoPlace | None:
            return None if settings["mongo_url"] == "off" else place

        experiment = make_experiment(
            lambda run, path: seen.append(path.name), {**CONFIG, "mongo_url": None}
        )
        return run_command(experiment, ["es/experiment.py", *words], mongo=find)

    assert command("with", "mongo_url=off", "seed=3") == 0
    with connected(place) as database:
        Mirror(database, tmp_path / "runs" / "1").carry()
    (tmp_path / "runs" / "1").rename(tmp_path / "kept")
    assert command("with", "resume=1") == 0
    assert seen == ["1", "1"]
