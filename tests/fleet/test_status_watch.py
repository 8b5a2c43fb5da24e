"""``head.py status --watch`` on a real terminal, while Redis goes away and comes back."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fleet_picture import declare, machine, worker
from real_fleet import DEADLINE_S, wait_for

from fleet.connection import connect
from fleet.server.redis_server import RedisServer

HEAD = Path(__file__).resolve().parents[2] / "es" / "head.py"
ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"
HOME = "\x1b[H"
LINES = 24


class Watched:
    """A command on a terminal of 80 columns and 24 lines.

    Args:
        words: after ``head.py``.
    """

    def __init__(self, *words: str) -> None:
        self._master, self._terminal = pty.openpty()
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, 80, 0, 0))
        self.settings = termios.tcgetattr(self._terminal)
        self.process = subprocess.Popen(
            [sys.executable, str(HEAD), *words],
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        self.output = ""
        self._is_open = True

    def read(self) -> str:
        """Everything written so far."""
        while select.select([self._master], [], [], 0.02)[0]:
            self.output += os.read(self._master, 65536).decode(errors="replace")
        return self.output

    def wait_for(self, text: str) -> str:
        """Wait until the screen shows ``text``; what was written since the last wait."""
        found: str = wait_for(lambda: text in self.read() and self.output, repr(text))
        self.output = ""
        return found

    def current_settings(self) -> object:
        return termios.tcgetattr(self._terminal)

    def hang_up(self) -> None:
        """Close the window."""
        for end in (self._terminal, self._master):
            os.close(end)
        self._is_open = False

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._is_open:
            self.hang_up()


@contextmanager
def watched(*words: str) -> Iterator[Watched]:
    command = Watched(*words)
    try:
        yield command
    finally:
        command.close()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_ends_on_a_signal_and_gives_the_terminal_back(number: int) -> None:
    with RedisServer() as server, watched("status", "--watch", f"--redis_url={server.url}") as seen:
        assert ENTER_SCREEN in seen.wait_for("no workers: start some")
        seen.process.send_signal(number)
        assert seen.process.wait(DEADLINE_S) == 0
        end = seen.read()
        assert LEAVE_SCREEN in end
        assert SHOW_CURSOR in end
        assert "Traceback" not in end
        assert seen.current_settings() == seen.settings


def test_a_watch_outlives_redis_and_says_so(port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    with ExitStack() as stack:
        first = stack.enter_context(RedisServer(port))
        with connect(url) as client:
            declare(client)
            machine(client, worker())
        seen = stack.enter_context(watched("status", "--watch", f"--redis_url={url}"))
        seen.wait_for("run 7")
        first.stop()
        seen.wait_for("Redis is out of reach")
        seen.wait_for("run 7")
        stack.enter_context(RedisServer(port))
        seen.wait_for("Redis is back after")
        seen.wait_for("Redis was emptied: run 7")
        seen.process.send_signal(signal.SIGINT)
        assert seen.process.wait(DEADLINE_S) == 0


def test_a_watch_never_scrolls_its_terminal() -> None:
    with RedisServer() as server, connect(server.url) as client:
        declare(client)
        for number in range(60):
            machine(client, worker(last_error="x" * 300), worker(), host=f"gpu{number}")
        with watched("status", "--watch", f"--redis_url={server.url}") as seen:
            seen.wait_for("more machines")
            output = seen.wait_for("more machines") + seen.wait_for("more machines")
    frames = output.split(HOME)
    assert len(frames) > 2
    assert all(frame.count("\n") < LINES for frame in frames)


def test_a_watch_whose_terminal_is_gone_ends() -> None:
    with RedisServer() as server, watched("status", "--watch", f"--redis_url={server.url}") as seen:
        seen.wait_for("no workers: start some")
        seen.hang_up()
        assert seen.process.wait(DEADLINE_S) is not None


def test_a_watch_in_a_pipe_is_one_object_a_line_and_ends_on_sigint() -> None:
    with RedisServer() as server, piped("--watch", "--json", server=server) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [look["why"][0]["kind"] for look in looks] == ["no-run", "no-run"]
        assert looks[0]["now_s"] < looks[1]["now_s"]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=DEADLINE_S)[1] == ""
        assert process.returncode == 0


def test_a_reader_who_leaves_early_sees_no_traceback() -> None:
    with RedisServer() as server, piped("--watch", server=server) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("redis unix://")
        process.stdout.close()
        assert process.wait(DEADLINE_S) in (0, 1, -signal.SIGPIPE)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@contextmanager
def piped(*words: str, server: RedisServer) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HEAD), "status", f"--redis_url={server.url}", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
