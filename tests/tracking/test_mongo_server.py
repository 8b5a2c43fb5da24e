from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pymongo
import pytest
from pymongo.errors import OperationFailure

from errors import ConfigError, ResourceExhausted, ServiceUnavailable
from tracking.mongo.mongod_binary import mongod_binary
from tracking.mongo.server import MongoServer

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mongo") / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[MongoServer]:
    with MongoServer(folder) as running:
        yield running


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until_ended(pid: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not ended(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_nobody_gets_in_without_the_password(server: MongoServer) -> None:
    with pymongo.MongoClient("127.0.0.1", server.port) as stranger:
        with pytest.raises(OperationFailure, match="requires authentication"):
            stranger.sacred.runs.find_one()
        # The door by which the first user came in is shut.
        with pytest.raises(OperationFailure, match="requires authentication"):
            stranger.admin.command("createUser", "eve", pwd="eve", roles=["root"])
    with (
        server.client(password="guessed") as stranger,
        pytest.raises(OperationFailure, match="Authentication failed"),
    ):
        stranger.sacred.runs.find_one()


def test_it_listens_on_loopback_only(server: MongoServer) -> None:
    sockets = psutil.Process(server.pid).net_connections("all")
    listening = [s.laddr for s in sockets if s.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", server.port)]
    assert not [s for s in sockets if s.family == socket.AF_UNIX and s.laddr]


def test_the_password_is_in_no_command_line_and_in_a_file_for_us_only(server: MongoServer) -> None:
    assert len(server.password) >= 32
    assert server.password not in " ".join(psutil.Process(server.pid).cmdline())
    assert server.password not in server.url
    assert server.password_file.read_text() == server.password
    assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    for path in server.folder.glob("mongod.*"):
        assert server.password not in path.read_text(errors="replace")


def test_what_was_written_is_there_at_the_next_start_under_the_same_password(folder: Path) -> None:
    with MongoServer(folder) as first, first.client() as client:
        client.sacred.kept.insert_one({"_id": 1})
        password = first.password
    assert ended(first.pid)
    with MongoServer(folder) as second, second.client() as client:
        assert client.sacred.kept.find_one() == {"_id": 1}
        assert second.password == password


def test_a_killed_server_comes_back_at_its_port_with_what_was_journaled(folder: Path) -> None:
    with MongoServer(folder) as killed:
        with killed.client(journal=True) as client:
            client.sacred.journaled.insert_one({"_id": 1})
        killed.kill()
        assert killed.poll() == -signal.SIGKILL
        with MongoServer(folder, killed.port) as again, again.client() as client:
            assert again.port == killed.port
            assert client.sacred.journaled.find_one() == {"_id": 1}


def test_a_first_start_that_was_killed_after_the_user_was_made_is_gone_on_with(
    tmp_path: Path,
) -> None:
    with MongoServer(tmp_path / "data") as server:
        password = server.password
    server.password_file.rename(server.password_file.with_suffix(".new"))
    with MongoServer(tmp_path / "data") as again:
        assert again.password == password


def test_a_temporary_one_leaves_nothing() -> None:
    with MongoServer() as server:
        assert server.folder.exists()
    assert not server.folder.exists()
    assert ended(server.pid)
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells")
def test_it_dies_with_the_process_that_started_it(folder: Path) -> None:
    program = (
        "import pathlib, sys, time\nfrom tracking.mongo.server import MongoServer\n"
        "server = MongoServer(pathlib.Path(sys.argv[1]))\n"
        "print(server.pid, flush=True)\ntime.sleep(600)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    with starter.stdout as said:
        pid = int(said.readline())
    starter.kill()
    starter.wait()
    wait_until_ended(pid)


def test_a_second_server_in_the_folder_is_refused_and_the_first_goes_on(
    server: MongoServer,
) -> None:
    with pytest.raises(ResourceExhausted, match="in use by another mongod"):
        MongoServer(server.folder)
    with server.client() as client:
        client.sacred.list_collection_names()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ResourceExhausted, match=f"port {port} of 127.0.0.1 is taken"):
            MongoServer(tmp_path / "data", port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(ConfigError, match=f"port {port} cannot be had"):
        MongoServer(tmp_path / "data", port)


def test_a_folder_with_other_things_is_not_made_a_database(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="holds other things"):
        MongoServer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_first_start_that_was_killed_before_anything_was_there_is_begun_anew(
    tmp_path: Path,
) -> None:
    (tmp_path / "lock").touch()
    with MongoServer(tmp_path) as server, server.client() as client:
        assert client.sacred.list_collection_names() == []


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(ConfigError, match="data cannot hold a database"):
        MongoServer(tmp_path / "data")


def test_a_lost_password_says_what_to_do(tmp_path: Path) -> None:
    with MongoServer(tmp_path / "data") as server:
        pass
    server.password_file.write_text("another")
    with pytest.raises(ServiceUnavailable, match="does not take the password") as refused:
        MongoServer(tmp_path / "data")
    assert "\n" not in str(refused.value)


def test_a_binary_that_does_not_run_here_is_reported_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "mongod"
    binary.write_text(
        "#!/bin/sh\necho 'libcurl.so.4: cannot open shared object file' >&2\nexit 127\n"
    )
    binary.chmod(0o755)
    monkeypatch.setenv("ES_MONGOD", str(binary))
    with pytest.raises(ServiceUnavailable, match=r"did not start \(libcurl.so.4: cannot open"):
        MongoServer(tmp_path / "data")


def test_a_mongod_is_found_by_name_on_the_path_or_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_MONGOD", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="is no program"):
        mongod_binary()
    monkeypatch.setenv("ES_MONGOD", "")
    mine = tmp_path / "mongod"
    mine.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mongod_binary() == mine
    mine.unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServiceUnavailable, match="no mongod here"):
        mongod_binary()


def test_each_test_gets_a_database_of_its_own(mongod: MongoServer, mongo_database: str) -> None:
    url = mongod.url_of(mongo_database)
    with pymongo.MongoClient(url, password=mongod.password) as client:
        client.get_default_database().runs.insert_one({"_id": 1})
        assert mongo_database in client.list_database_names()
