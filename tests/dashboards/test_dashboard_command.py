from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pymongo
import pytest
from dashboard_process import DEADLINE_S, ROOT, Dashboard, free_port, start_dashboard

pytestmark = pytest.mark.timeout(2 * DEADLINE_S)


def asked(dashboard: Dashboard, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.omniboard_port, timeout=120)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_both_listen_on_loopback_only(dashboard: Dashboard) -> None:
    listening = {
        tuple(found.laddr)
        for process in dashboard.processes
        for found in process.net_connections("inet")
        if found.status == psutil.CONN_LISTEN
    }
    assert listening == {
        ("127.0.0.1", dashboard.port),
        ("127.0.0.1", dashboard.omniboard_port),
    }


def test_the_password_is_in_no_command_line_and_nowhere_in_what_it_says(
    dashboard: Dashboard,
) -> None:
    password = (dashboard.folder / "password").read_text()
    for process in dashboard.processes:
        assert password not in " ".join(process.cmdline())
    assert password not in dashboard.said
    assert password not in (dashboard.folder / "omniboard.log").read_text()


def test_what_it_says_lets_a_terminal_in(dashboard: Dashboard) -> None:
    program = (
        "from tracking.mongo.connection import connected\n"
        "from tracking.mongo.place import find_mongo\n"
        "with connected(find_mongo(None)) as database: print(database.name)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | dashboard.exported,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "sacred\n"


def test_pages_of_others_can_neither_read_nor_delete(dashboard: Dashboard) -> None:
    path = "/sacred/api/v1/Runs/count"
    own = f"localhost:{dashboard.omniboard_port}"
    assert asked(dashboard, path, Host=own) == (200, b'{"count":0}')
    assert asked(dashboard, path, Host=own, Origin=f"http://{own}")[0] == 200
    assert asked(dashboard, path, Host=own, Origin="http://evil.example")[0] == 403
    assert asked(dashboard, path, Host=own, Origin="null")[0] == 403
    # A name of theirs that they had lead to 127.0.0.1.
    assert asked(dashboard, path, Host=f"evil.example:{dashboard.omniboard_port}")[0] == 403


def test_ctrl_c_ends_both_and_the_next_start_shows_what_was_kept(
    omniboard_installed: None, tmp_path: Path
) -> None:
    first = start_dashboard(tmp_path / "data")
    processes = first.processes
    assert len(processes) == 3
    password = (tmp_path / "data" / "password").read_text()
    with pymongo.MongoClient(first.exported["ES_MONGO_URL"], password=password) as client:
        client.sacred.runs.insert_one({"_id": 1})
    assert first.end(signal.SIGINT) == 0
    first.close()
    assert not [process for process in processes if process.is_running()]
    second = start_dashboard(tmp_path / "data")
    try:
        assert asked(second, "/sacred/api/v1/Runs/count")[1] == b'{"count":1}'
    finally:
        second.close()


def test_ctrl_c_while_it_starts_leaves_nothing(omniboard_installed: None, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tracking.dashboard", "--folder", str(folder)),
            *("--port", str(free_port()), "--omniboard_port", str(free_port())),
        ],
        cwd=ROOT,
    ) as starting:
        command = psutil.Process(starting.pid)
        deadline_s = time.monotonic() + DEADLINE_S
        while not (started := command.children()) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        starting.send_signal(signal.SIGINT)
        assert starting.wait(DEADLINE_S) == 0
    assert started
    # A server of ours dies with us, an instant later.
    while any(runs(process) for process in started):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_an_omniboard_that_ends_is_started_anew_and_a_mongod_that_ends_ends_all(
    omniboard_installed: None, tmp_path: Path
) -> None:
    started = start_dashboard(tmp_path / "data")
    try:
        _, *children = started.processes
        (mongod,) = [child for child in children if child.name().startswith("mongod")]
        (omniboard,) = [child for child in children if child != mongod]
        omniboard.kill()
        assert started.process.stdout is not None
        assert "Omniboard had ended and was started anew" in started.process.stdout.readline()
        assert asked(started, "/sacred/api/v1/Runs/count")[0] == 200
        mongod.kill()
        assert "mongod has ended" in started.rest()
        assert started.process.wait(DEADLINE_S) == 4
        assert not [child for child in children if child.is_running()]
    finally:
        started.close()


def test_a_port_of_omniboard_that_is_taken_is_named_before_anything_starts(
    dashboard: Dashboard, tmp_path: Path
) -> None:
    refused = subprocess.run(
        [
            *(sys.executable, "-m", "tracking.dashboard", "--folder", str(tmp_path / "data")),
            *("--port", str(free_port()), "--omniboard_port", str(dashboard.omniboard_port)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 5
    assert f"port {dashboard.omniboard_port} of 127.0.0.1 cannot be had" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_machine_without_node_is_told_so_before_anything_starts(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "tracking.dashboard", "--folder", str(tmp_path / "data")],
        cwd=ROOT,
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 4
    assert "Omniboard needs Node" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_remember_writes_the_file_that_runs_look_into_once(
    omniboard_installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    started = start_dashboard(tmp_path / "data", "--remember")
    started.close()
    kept = tmp_path / "config" / "walking-es" / "mongo-url"
    assert str(kept) in started.said
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().startswith("mongodb://es:")
    kept.write_text("mongodb://elsewhere/sacred\n")
    with pytest.raises(pytest.fail.Exception, match="names another MongoDB"):
        start_dashboard(tmp_path / "data", "--remember")
