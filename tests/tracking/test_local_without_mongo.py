"""A MongoDB that is named and cannot be: runs that are in the files are read all the same."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorded_run import recorded
from tiny_experiment import RunOnce

from env.subject import subject_of
from errors import ConfigError, RunError
from tracking import metric_log, plot, report
from tracking.metric_log import MetricLog, Row
from tracking.mongo.place import find_mongo
from tracking.store import open_run, open_run_to_resume


@pytest.fixture(params=["no password", "readable by others"])
def runs_dir(
    request: pytest.FixtureRequest,
    run_once: RunOnce,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    if request.param == "no password":
        monkeypatch.setenv("ES_MONGO_URL", "mongodb://ada@db.example/lab")
    else:
        monkeypatch.delenv("ES_MONGO_URL")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        url_file = tmp_path / "walking-es" / "mongo-url"
        url_file.parent.mkdir()
        url_file.write_text("mongodb://db.example/lab")
        url_file.chmod(0o644)
    with pytest.raises(ConfigError):
        find_mongo()
    run_once(recorded)
    return tmp_path / "runs"


def test_a_run_is_read_by_its_number_and_by_its_uid(runs_dir: Path) -> None:
    uid = json.loads((runs_dir / "1" / "run.json").read_text())["uid"]
    for look in (open_run, open_run_to_resume):
        assert look(1, runs_dir, find_mongo).path == look(uid, runs_dir, find_mongo).path
    assert subject_of("1", None, runs_dir, "last").run_id == 1


def test_it_is_drawn_and_reported(runs_dir: Path, tmp_path: Path) -> None:
    metrics = runs_dir / "1" / metric_log.FILE_NAME
    metrics.unlink()
    with closing(MetricLog(metrics)) as log:
        log.append(Row(1, 0.0, {"fitness/mean": 1.0, "work/generation": 1}))
    for main, name in ((plot.main, "curve.png"), (report.main, "page.html")):
        words = ["1", "--out", str(tmp_path / name), "--runs_dir", str(runs_dir)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output


def test_one_that_is_not_there_says_both(runs_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run 7 in .*; the nearest are 1; .*(ada|0644)"):
        open_run(7, runs_dir, find_mongo)


def test_one_that_is_damaged_says_so(runs_dir: Path) -> None:
    (runs_dir / "1" / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"is damaged: the run cannot be read$"):
        open_run(1, runs_dir, find_mongo)
