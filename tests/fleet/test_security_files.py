"""Passwords and sockets: whose they have to be, where they are found, where they never show."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from real_fleet import DEADLINE_S
from terminal import Terminal, refused

from errors import ConfigError, ResourceExhausted
from fleet.connection import connect, refuse_password_in, url_of, without_password
from fleet.security.access import Access, access_given
from fleet.security.credentials import Credentials, Given
from fleet.security.find_access import find_access
from fleet.security.private_files import private_folder, read_secret, write_private
from fleet.security.tls import self_signed
from fleet.server import server_file
from fleet.server.redis_server import RedisServer
from fleet.server.socket_claim import MAX_SOCKET_BYTES

SECRET = "hunter2"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    write_private(path, SECRET + "\n")
    return path


def test_a_file_of_ours_is_written_for_us_alone(secret_file: Path) -> None:
    assert secret_file.stat().st_mode & 0o777 == 0o600
    assert read_secret(secret_file) == SECRET
    assert [path.name for path in secret_file.parent.iterdir()] == ["password"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_password_file_that_others_may_open_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}.*chmod 600 ") as caught:
        read_secret(secret_file)
    assert SECRET not in str(caught.value)


def test_a_file_that_cannot_be_written_is_refused(terminal: Terminal) -> None:
    finished = terminal.run("head", "acl", "--worker_password_file=/no/such/folder/password")
    assert "/no/such/folder/password cannot be written (No such" in refused(finished, 2)


def test_passwords_of_a_socket_that_nobody_else_can_reach_are_refused(
    terminal: Terminal, tmp_path: Path
) -> None:
    finished = terminal.run(
        "worker",
        "run-mirror",
        f"--relay_socket_path={tmp_path / 's'}",
        f"--worker_password_file={tmp_path / 'w'}",
        "--no_tls",
    )
    assert "--worker_password_file, --no_tls: for other machines" in refused(finished, 2)


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "x" * 2000])
def test_a_file_that_holds_no_password_is_refused(tmp_path: Path, text: str) -> None:
    write_private(tmp_path / "file", text)
    with pytest.raises(ConfigError, match="expected one line"):
        read_secret(tmp_path / "file")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_secret(tmp_path / "nowhere")


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    assert private_folder(tmp_path / "new" / "er").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(ConfigError, match=r"mode 0755.*chmod 700"):
        private_folder(tmp_path / "open")
    (tmp_path / "open").chmod(0o1777)
    with pytest.raises(ConfigError, match=r"mode 1777\), expected 0700: name") as caught:
        private_folder(tmp_path / "open")
    assert "chmod" not in str(caught.value)  # of /tmp it would take the machine down
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(ConfigError, match="not a folder of yours"):
        private_folder(tmp_path / "link")


@pytest.mark.parametrize("as_worker", [False, True])
def test_whose_password_counts_is_plain(
    secret_file: Path, monkeypatch: pytest.MonkeyPatch, as_worker: bool
) -> None:
    def given(**files: Path) -> tuple[str, str | None]:
        access = access_given(as_worker=as_worker, **files)
        return access.user, access.password

    assert given() == ("default", None)
    monkeypatch.setenv("ES_REDIS_WORKER_PASSWORD_FILE", str(secret_file))
    assert given() == ("worker", SECRET)
    monkeypatch.setenv("ES_REDIS_WORKER_PASSWORD", "w")
    assert given() == ("worker", "w")
    monkeypatch.setenv("ES_REDIS_PASSWORD_FILE", str(secret_file))
    assert given() == (("worker", "w") if as_worker else ("default", SECRET))
    monkeypatch.setenv("ES_REDIS_PASSWORD", "h")
    assert given() == (("worker", "w") if as_worker else ("default", "h"))
    assert given(password_file=secret_file) == ("default", SECRET)
    if as_worker:
        assert given(worker_password_file=secret_file) == ("worker", SECRET)


def test_a_process_of_ours_finds_what_we_gave_it_and_nothing_else(
    secret_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_REDIS_WORKER_PASSWORD", "not this one")
    monkeypatch.setenv("ES_REDIS_PASSWORD_FILE", str(secret_file))
    ca_file = self_signed(private_folder(tmp_path / "keys"), "127.0.0.1")[0].ca_file
    for access in (Access(), Access("worker", "w"), Access("default", "h", ca_file)):
        with monkeypatch.context() as child:
            for name, value in access.environment().items():
                child.setenv(name, value)
            assert access_given() == access
            assert access_given(as_worker=True) == access


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\0\xff" * 50])
def test_a_file_without_a_certificate_is_refused_at_once(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "server.crt").write_bytes(content)
    with pytest.raises(ConfigError, match="is no certificate that can be read") as refusal:
        access_given(tls_ca=tmp_path / "server.crt")
    assert "\n" not in str(refusal.value)


def test_nothing_that_holds_a_password_shows_it() -> None:
    for thing in (
        Access("worker", SECRET),
        Credentials(SECRET, SECRET),
        Given(SECRET, SECRET),
        without_password(f"redis://worker:{SECRET}@host:1/0"),
        without_password(f"unix:///s?password={SECRET}"),
    ):
        assert SECRET not in f"{thing} {thing!r}"


@pytest.mark.parametrize(
    "url", [f"redis://:{SECRET}@host/0", f"rediss://u:{SECRET}@h", f"unix:///s?password={SECRET}"]
)
def test_a_url_with_a_password_is_refused_on_a_command_line(url: str) -> None:
    for refuse in (refuse_password_in, lambda host: url_of(host, 1)):
        with pytest.raises(ConfigError, match="ES_REDIS_PASSWORD") as caught:
            refuse(url)
        assert SECRET not in str(caught.value)


def test_a_run_directory_never_gets_a_password(terminal: Terminal) -> None:
    url = f"redis_url=redis://:{SECRET}@127.0.0.1:1/0"
    finished = terminal.run("experiment", "with", "sphere", url)
    assert SECRET not in refused(finished, 2)
    kept = [path for path in terminal.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_beyond_this_machine_a_host_means_tls() -> None:
    assert url_of("10.0.0.5", 7) == "rediss://10.0.0.5:7/0"
    assert url_of("10.0.0.5", 7, no_tls=True) == "redis://10.0.0.5:7/0"
    assert url_of("fd00::5", 7) == "rediss://[fd00::5]:7/0"
    assert url_of("localhost", 7) == url_of("localhost", 7, no_tls=True) == "redis://localhost:7/0"
    assert url_of("unix:///run/s", 7) == "unix:///run/s"


@pytest.mark.parametrize("host", ["10.0.0.5:6379", "[fd00::5]:7", "user@host", "host/0", "", "a b"])
def test_a_host_that_is_none_is_refused_in_one_line(host: str) -> None:
    with pytest.raises(ConfigError, match="names no host: expected") as caught:
        url_of(host, 7)
    assert "--master_port" in str(caught.value)


def test_a_socket_is_served_by_one_server_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "own" / "socket"
    with RedisServer(socket_path=path) as server:
        assert server.url == f"unix://{path}"
        assert server.tcp_url is None
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(ResourceExhausted, match="a server is at work on"):
            RedisServer(socket_path=path)
        with connect(server.url) as client:
            assert client.ping()
    assert list(path.parent.iterdir()) == []


def test_the_socket_of_a_dead_server_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "own" / "socket"
    with RedisServer(socket_path=path) as dead:
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        left = tmp_path / "left"
        path.rename(left)
    left.rename(path)
    with RedisServer(socket_path=path) as server, connect(server.url) as client:
        assert client.ping()


def test_a_socket_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "own" / "socket"
    with RedisServer(socket_path=path) as server:
        path.with_name("socket.lock").unlink()  # as if another program served it
        with pytest.raises(ResourceExhausted, match="a server is at work on"):
            RedisServer(socket_path=path)
        with connect(server.url) as client:
            assert client.ping()


def test_a_socket_path_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    private = private_folder(tmp_path / "own")
    (private / "file").write_text("mine")
    too_long = private / ("x" * MAX_SOCKET_BYTES)
    for path, why in (
        (private / "file", "not a socket"),
        (too_long, rf"bytes long, expected at most {MAX_SOCKET_BYTES}"),
        (Path("/tmp/es-test-of-ours"), "not a folder of yours|open to others"),
    ):
        with pytest.raises(ConfigError, match=why):
            RedisServer(socket_path=path)
    assert (private / "file").read_text() == "mine"


def test_our_own_servers_password_is_shown_to_that_server_only(
    secret_file: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    url = f"redis://127.0.0.1:{port}/0"
    credentials = Credentials(SECRET, "w", secret_file, None)
    with (
        RedisServer(port, password=SECRET, worker_password="w") as server,
        server_file.written(port, server, "127.0.0.1", credentials),
    ):
        assert find_access(url).password == SECRET
        connect(url, access=find_access(url)).close()
        for other in (
            f"redis://192.0.2.1:{port}/0",
            f"redis://127.0.0.2:{port}/0",
            f"rediss://127.0.0.1:{port}/0",
            f"redis://127.0.0.1:{port + 1}/0",
            "unix:///somewhere",
        ):
            assert find_access(other).password is None
        left = next(tmp_path.rglob(f"redis-{port}.json"))
        assert SECRET not in left.read_text()
        kept = left.read_bytes()
    left.write_bytes(kept)  # as a server leaves it that was killed
    assert find_access(url).password is None


def test_a_terminal_is_asked_for_the_password(
    terminal: Terminal, port: int, secret_file: Path
) -> None:
    ours, theirs = pty.openpty()
    with RedisServer(port, password=SECRET):
        process = subprocess.Popen(
            terminal.command(("head", "status", f"--redis_url=redis://127.0.0.1:{port}/0")),
            env=terminal.environment,
            cwd=terminal.folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        said = _until(ours, "Password of default")
        os.write(ours, f"{SECRET}\n".encode())
        said += _until(ours, "no run:")
        assert process.wait(DEADLINE_S) == 0
    os.close(ours)
    assert SECRET not in said


def _until(terminal: int, phrase: str) -> str:
    said, deadline_s = "", time.monotonic() + DEADLINE_S
    while phrase not in said:
        assert time.monotonic() < deadline_s, said
        said += os.read(terminal, 4096).decode()
    return said


def test_without_a_terminal_nobody_is_asked(terminal: Terminal, port: int) -> None:
    with RedisServer(port, password=SECRET):
        line = refused(terminal.run("head", "flush", f"--redis_url=redis://127.0.0.1:{port}/0"), 4)
    assert "wants a password" in line
    assert "ES_REDIS_PASSWORD_FILE" in line


def test_a_laptop_needs_to_know_nothing_of_all_this(terminal: Terminal) -> None:
    program = "from fleet.server.redis_server import RedisServer as R; print(R().access)"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=terminal.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == repr(Access())
