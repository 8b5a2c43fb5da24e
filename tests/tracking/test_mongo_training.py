"""A real training, from its command line to MongoDB and back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mongo_compare import assert_same_run

from tracking.mongo.server import MongoServer

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(ROOT / "es" / "experiment.py"), "with"]
SETTINGS = ["cartpole", "pool=serial", "num_generations=10000", "validation_episodes=1"]
PATIENCE_S = 180.0


def start(server: MongoServer, runs_dir: Path, *words: str) -> subprocess.Popen[str]:
    environment = {"ES_MONGO_URL": server.url, "ES_MONGO_PASSWORD": server.password}
    return subprocess.Popen(
        [*COMMAND, *words, "final_episodes=1", f"runs_dir={runs_dir}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
    )


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """What it printed until a line with ``text``."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} never came:\n{said}")


@pytest.mark.timeout(400)
def test_mongodb_killed_in_mid_run_has_the_run_in_the_end_and_it_is_resumed_from_there(
    tmp_path: Path,
) -> None:
    runs_dir, folder = tmp_path / "runs", tmp_path / "db"
    server = MongoServer(folder)
    try:
        with start(server, runs_dir, *SETTINGS) as run:
            try:
                wait_for(run, f"MongoDB at 127.0.0.1:{server.port}/sacred has this run")
                wait_for(run, "generation ")
                server.kill()
                wait_for(run, "meanwhile the run is recorded in")
                wait_for(run, "generation ")
                server = MongoServer(folder, server.port)
                wait_for(run, "again has this run")
                run.send_signal(signal.SIGINT)
                rest = run.communicate(timeout=PATIENCE_S)[0]
            finally:
                run.kill()
            assert run.returncode == 130, rest
        assert "tracking.sync" not in rest
        with server.client() as client:
            document = assert_same_run(client["sacred"], runs_dir / "1")
        assert document["status"] == "INTERRUPTED"
        told = max_generation(server) + 1
        shutil.rmtree(runs_dir / "1")
        with start(server, runs_dir, "resume=1", f"num_generations={told + 3}") as run:
            try:
                said = run.communicate(timeout=PATIENCE_S)[0]
            finally:
                run.kill()
        assert run.returncode == 0, said
        assert "run 1 goes on at generation " in said
        with server.client() as client:
            assert client["sacred"]["runs"].count_documents({}) == 1
            document = assert_same_run(client["sacred"], runs_dir / "1")
        assert (document["_id"], document["status"]) == (1, "COMPLETED")
        assert document["result"]["run_uid"] == document["walking_es"]["uid"]
    finally:
        server.stop()


def max_generation(server: MongoServer) -> int:
    with server.client() as client:
        steps = client["sacred"]["metrics"].find_one({"name": "work/generation"})
        assert steps is not None
        return int(max(steps["steps"]))
