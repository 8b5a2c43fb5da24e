"""The plain lines are a golden text; the panel is run in a real pseudo-terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import dataclass
from fcntl import ioctl

import pytest

from tracking.console import Console
from tracking.cost import Cost
from tracking.recorders import Recorders

GOLDEN = (
    "generation  0/12  current     19.0  mean     17.5  best     21.3"
    "   4.1k steps/s   2 workers  0 failed  0:01:50 left\n"
    "one rollout failed: NaN in a pose\n"
    "generation  1/12  current     19.0  mean     18.5  best     22.3"
    "    950 steps/s   2 workers  3 failed  0:01:40 left\n"
)


@dataclass
class Status:
    num_workers: int = 2
    num_machines: int = 1
    reissued: int = 0
    note: str = ""


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def metrics(number: int) -> dict[str, float]:
    values = {
        "fitness/mean": 17.5 + number,
        "fitness/best_overall": 21.3 + number,
        "rate/env_steps_per_s": 4100.0 if number == 0 else 950.0,
        "failures/failed_total": number * 3.0,
        "work/reissued_total": 0.0,
    }
    return values if number else {**values, "fitness/current": 19.0}


def test_in_a_pipe_each_generation_is_one_aligned_line() -> None:
    stream, clock = io.StringIO(), Clock()
    with Console(12, None, stream, clock) as console:
        for number in range(2):
            console.progress(number, 0, 10, Status())
            clock.now_s += 10.0
            console.progress(number, 10, 10, Status())
            console.generation(number, metrics(number))
            if number == 0:
                console.notice("one rollout failed: NaN in a pose")
    assert stream.getvalue() == GOLDEN


def test_time_left_is_the_nearer_of_generations_and_wall_time() -> None:
    stream, clock = io.StringIO(), Clock()
    with Console(1000, 60.0, stream, clock) as console:
        console.progress(0, 0, 10, Status())
        clock.now_s += 10.0
        console.generation(0, {"time/elapsed_s": 10.0})
    assert stream.getvalue().rstrip().endswith("0:00:50 left")


def test_a_resumed_run_counts_the_time_of_its_earlier_sessions() -> None:
    stream, clock = io.StringIO(), Clock()
    with Console(1000, 60.0, stream, clock) as console:
        console.progress(500, 0, 10, Status())
        clock.now_s += 1.0
        console.generation(500, {"time/elapsed_s": 45.0})
    assert stream.getvalue().rstrip().endswith("0:00:15 left")


def test_a_fleet_is_counted_in_machines_and_in_what_they_cost() -> None:
    stream = io.StringIO()
    cost = Cost(time_s=0.0, usd=1.237, usd_per_hour=3.2, budget_usd=5.0)
    with Console(12, None, stream, Clock(), cost=lambda: cost) as console:
        console.progress(0, 10, 10, Status(num_workers=40, num_machines=5))
        console.generation(0, metrics(0))
    assert "40 workers on 5 machines  0 failed  1.24 USD  " in stream.getvalue()


def test_a_panel_at_80_columns_has_the_whole_fleet_and_its_price() -> None:
    shown = last_panel(on_a_terminal(80, count=40, fleet=True))
    rows = {line[1:14].strip(): line[14:-1].strip() for line in shown.split("\r\n") if line}
    assert rows["fleet"] == "120 machines   960 workers   93% busy"
    assert rows["work"] == "950 steps/s   117 failed   2341 reissued"
    assert rows["cost"] == "12.35 of 50.00 USD   41.20 USD/h"
    assert all(len(line) <= 78 for line in shown.split("\r\n"))


def test_a_closed_pipe_ends_the_showing_and_not_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    with Console(3, None, stream) as console:
        for number in range(3):
            console.generation(number, metrics(number))
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_stream_that_cannot_encode_a_notice_still_shows_it() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    with Console(3, None, stream) as console:
        console.notice("σ was lowered")
        console.notice("next")
    assert buffer.getvalue() == b"? was lowered\nnext\n"


def test_recorders_tell_each_recorder_in_order() -> None:
    told: list[tuple[int, str]] = []

    class Told:
        def __init__(self, name: int) -> None:
            self.name = name

        def progress(self, number: int, done: int, total: int, status: object) -> None:
            told.append((self.name, f"progress {number} {done} {total}"))

        def generation(self, number: int, metrics: object) -> None:
            told.append((self.name, f"generation {number}"))

        def checkpoint(self, number: int, arrays: object, *, is_best: bool, is_last: bool) -> None:
            told.append((self.name, f"checkpoint {number} {is_best} {is_last}"))

        def notice(self, line: str) -> None:
            told.append((self.name, line))

    both = Recorders([Told(1), Told(2)])
    both.progress(0, 1, 2, Status())
    both.generation(0, {})
    both.checkpoint(0, {}, is_best=True, is_last=False)
    both.notice("hello")
    lines = ["progress 0 1 2", "generation 0", "checkpoint 0 True False", "hello"]
    assert told == [(name, line) for line in lines for name in (1, 2)]


DEMO = """
import sys, time
sys.path[:0] = {path!r}
from test_console import Status, metrics
from tracking.console import Console
from tracking.cost import Cost
from tracking.interruption import Interrupted, interruptible
try:
    status, cost, more = Status(note="waiting for workers"), None, {{}}
    if {fleet}:
        status = Status(960, 120, 2341)
        cost = Cost(0.0, 12.345, 41.2, 50.0)
        more = {{"workers/utilisation": 0.934, "work/reissued_total": 2341.0}}
    with (
        interruptible(),
        Console(40, None, sys.stdout, title="walk, run 12", cost=lambda: cost) as console,
    ):
        for number in range({count}):
            for done in range(0, 11, 5):
                console.progress(number, done, 10, status)
                time.sleep(0.01)
            console.generation(number, metrics(number) | more)
            if number == 2:
                console.notice("a notice above the panel")
        {then}
except Interrupted as stop:
    print("stopped", stop.exit_code)
"""


def on_a_terminal(columns: int, count: int, *, interrupt: bool = False, fleet: bool = False) -> str:
    """What a terminal of that width got from the demo, Ctrl-C being typed into it at the end."""
    head, tail = pty.openpty()
    ioctl(tail, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    then = "time.sleep(30)" if interrupt else "pass"
    code = DEMO.format(path=sys.path, count=count, then=then, fleet=fleet)
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=tail,
        stdout=tail,
        stderr=tail,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
    )
    os.close(tail)
    received = b""

    def read() -> None:
        nonlocal received
        while True:
            try:
                data = os.read(head, 65536)
            except OSError:  # EIO: the last to hold the other end let go
                return
            if not data:
                return
            received += data

    reader = threading.Thread(target=read)
    reader.start()
    try:
        if interrupt:
            deadline_s = time.monotonic() + 10
            while f"{count} of 40".encode() not in received and time.monotonic() < deadline_s:
                time.sleep(0.05)
            os.killpg(child.pid, signal.SIGINT)
        child.wait(timeout=15)
    finally:
        child.kill()
        child.wait()
        reader.join(timeout=5)
        os.close(head)
    return received.decode()


def last_panel(shown: str) -> str:
    """What stays on the terminal, without its colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[shown.rindex("╭") :])


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_last_panel_stays_and_fits_the_terminal(columns: int) -> None:
    shown = on_a_terminal(columns, count=40)
    plain = last_panel(shown)
    assert "40 of 40" in plain
    assert "current 19.0" in plain
    assert "waiting" not in plain
    assert all(len(line) <= columns - 2 for line in plain.split("\r\n"))
    assert "a notice above the panel" in shown


def test_ctrl_c_leaves_the_cursor_visible_and_a_line_of_its_own() -> None:
    shown = on_a_terminal(80, count=4, interrupt=True)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert shown.endswith("╯\r\n\x1b[?25hstopped 130\r\n")
