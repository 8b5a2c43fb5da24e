"""The commands as people type them: one line for each mistake, and nothing left running."""

from __future__ import annotations

import re
import socketserver
import threading

import psutil
import pytest
from real_fleet import DEADLINE_S, wait_for
from terminal import Terminal, refused

from errors import ServiceUnavailable
from fleet.connection import connect
from fleet.server.redis_server import RedisServer


def test_a_server_is_served_stopped_and_served_again(terminal: Terminal, port: int) -> None:
    with terminal.start("head", "run-server", f"--port={port}") as first:
        wait_for(lambda: "Ctrl-C ends it" in terminal.log, "the first server")
        taken = refused(terminal.run("head", "run-server", f"--port={port}"), 5)
        assert f"port {port}" in taken
        assert "--stop" in taken
        with terminal.start("head", "run-server", f"--port={port}", "--stop"):
            wait_for(lambda: terminal.log.count("Ctrl-C ends it") == 2, "the second server")
            assert first.wait(DEADLINE_S) == 0
            assert "stopped the server of process" in terminal.log
    assert "Traceback" not in terminal.log
    with pytest.raises(ServiceUnavailable):
        connect(f"redis://127.0.0.1:{port}/0")


def test_stop_ends_no_server_that_is_not_ours(terminal: Terminal, port: int) -> None:
    with RedisServer(port) as theirs:
        line = refused(terminal.run("head", "run-server", f"--port={port}", "--stop"), 5)
        assert f"port {port}" in line
        assert psutil.pid_exists(theirs.pid)


def test_sigterm_ends_the_server_too(terminal: Terminal, port: int) -> None:
    with terminal.start("head", "run-server", f"--port={port}") as serving:
        wait_for(lambda: "Ctrl-C ends it" in terminal.log, "the server")
        (server,) = psutil.Process(serving.pid).children()
        serving.terminate()
        assert serving.wait(DEADLINE_S) == 0
        psutil.wait_procs([server], timeout=DEADLINE_S)
        assert not server.is_running()
    assert not list(terminal.folder.rglob("redis-*.json"))


def test_flush_deletes_our_keys_and_no_others(terminal: Terminal) -> None:
    with RedisServer() as server:
        client = connect(server.url)
        client.set("es:runs", "x")
        client.set("es:0123:open", "x")
        client.set("essential", "theirs")
        finished = terminal.run("head", "flush", f"--redis_url={server.url}")
        assert finished.stdout == "deleted 2 keys\n"
        assert client.keys() == [b"essential"]


def test_status_says_why_nothing_moves(terminal: Terminal) -> None:
    with RedisServer() as server:
        finished = terminal.run("head", "status", f"--redis_url={server.url}")
        assert finished.returncode == 0
        assert "no run: start one" in finished.stdout
        assert "no workers: start some" in finished.stdout


@pytest.mark.parametrize("words", [("head", "flush"), ("head", "status"), ("worker",)])
def test_a_server_that_is_not_there_is_one_line(
    terminal: Terminal, port: int, words: tuple[str, ...]
) -> None:
    command = (*words, "start-workers") if words == ("worker",) else words
    line = refused(terminal.run(*command, f"--redis_url=redis://127.0.0.1:{port}/0"), 4)
    assert "run-server" in line
    assert str(port) in line


def test_an_address_that_is_none_is_one_line(terminal: Terminal) -> None:
    assert "redis://HOST" in refused(terminal.run("head", "status", "--redis_url=somewhere"), 2)


def test_a_run_that_cannot_be_one_is_one_line(terminal: Terminal) -> None:
    assert "32 hexadecimal" in refused(terminal.run("worker", "start-workers", "--run=12"), 2)


def test_a_password_is_asked_for_and_never_shown(terminal: Terminal, port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    secret = 'fish "and" \\chips'
    with terminal.start("head", "run-server", f"--port={port}", password=secret) as serving:
        wait_for(lambda: "Ctrl-C ends it" in terminal.log, "the server")
        for process in [psutil.Process(serving.pid), *psutil.Process(serving.pid).children()]:
            assert not any("fish" in word for word in process.cmdline())
        assert terminal.run("head", "status", f"--redis_url={url}", password=secret).returncode == 0
        for finished in [
            terminal.run("head", "status", f"--redis_url={url}"),
            terminal.run("head", "status", f"--redis_url={url}", password="hunter2"),
        ]:
            line = refused(finished, 4)
            assert "ES_REDIS_PASSWORD" in line
            assert "hunter2" not in line
    assert "fish" not in terminal.log


@pytest.mark.parametrize("command", ["status", "flush"])
def test_a_password_on_the_command_line_is_refused(terminal: Terminal, command: str) -> None:
    finished = terminal.run("head", command, "--redis_url=redis://:hunter2@127.0.0.1:1/0")
    line = refused(finished, 2)
    assert "ES_REDIS_PASSWORD" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "url", ["redis://:hunter2@[::1:6379/0", "redis://127.0.0.1:1/0?colour=red", "redis://h:port/0"]
)
def test_what_is_no_url_is_refused_in_one_line(terminal: Terminal, url: str) -> None:
    line = refused(terminal.run("head", "status", f"--redis_url={url}"), 2)
    assert "expected redis://HOST:PORT/0" in line
    assert "hunter2" not in line


def test_a_server_that_evicts_is_refused() -> None:
    with RedisServer() as server:
        client = connect(server.url)
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ServiceUnavailable, match=r"evicts keys.*allkeys-lru.*noeviction"):
            connect(server.url)


class Redis5(socketserver.StreamRequestHandler):
    """Says what a Redis 5 says to a client that arrives."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2].upper())
            if words[0] == b"INFO":
                info = b"# Server\r\nredis_version:5.0.7\r\n"
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(info), info))
            else:
                self.wfile.write(b"-ERR unknown command `%s`\r\n" % words[0])


def test_a_server_that_is_too_old_is_refused() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redis5) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(ServiceUnavailable, match=r"version 5 or older, expected 6\.2"):
                connect(f"redis://127.0.0.1:{server.server_address[1]}/0")
        finally:
            server.shutdown()


def test_three_terminals_serve_one_run_after_the_other(terminal: Terminal, port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    train = ("experiment", "with", "sphere", "seed=7", "num_generations=3", "workers=0")
    with terminal.start("head", "run-server", f"--port={port}"):
        wait_for(lambda: "Ctrl-C ends it" in terminal.log, "the server")
        with terminal.start("worker", "start-workers", "--num_workers=2", f"--redis_url={url}"):
            digests = set()
            for number in (1, 2):
                finished = terminal.run(*train, f"redis_url={url}", timeout_s=3 * DEADLINE_S)
                assert finished.returncode == 0, finished.stderr
                last = finished.stdout.strip().splitlines()[-1]
                assert last.startswith(f"run {number} done:")
                digests |= set(re.findall(r"theta_sha256=([0-9a-f]{64})", last))
            assert len(digests) == 1
            status = terminal.run("head", "status", f"--redis_url={url}").stdout
            assert "no run: start one" in status
            assert re.search(r"machine .* workers=2\b", status)
    assert "Traceback" not in terminal.log
