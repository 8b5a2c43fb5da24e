"""What a machine says, from near its end, and as it comes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cluster.local.log_files import log_lines, printable


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 10])
def test_the_last_lines_are_told(tmp_path: Path, lines: int) -> None:
    (tmp_path / "log").write_text("one\ntwo\nthree\n")
    told = [line.text for line in log_lines(tmp_path / "log", "head", lines, None)]
    assert told == ["one", "two", "three"][3 - min(3, lines) :]


def test_the_last_lines_of_a_long_log_are_found_across_blocks(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"{n} {'x' * 999}\n" for n in range(1000)))
    told = [line.text.split()[0] for line in log_lines(tmp_path / "log", "head", 200, None)]
    assert told == [str(n) for n in range(800, 1000)]


def test_a_line_without_its_end_is_told_at_last(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntw")
    told = list(log_lines(tmp_path / "log", "worker-1", 5, None))
    assert [line.text for line in told] == ["one", "tw"]
    assert {line.machine for line in told} == {"worker-1"}
    assert told[0].time_s == pytest.approx((tmp_path / "log").stat().st_mtime)


def test_a_log_that_is_not_there_yet_is_waited_for_and_followed_to_its_end(tmp_path: Path) -> None:
    over = threading.Event()
    told = log_lines(tmp_path / "log", "head", 10, over.is_set)
    with (tmp_path / "log").open("w") as log:
        log.write("one\ntwo")
        log.flush()
        assert next(told).text == "one"
        log.write(" and a half\nthree\n")
    over.set()
    assert [line.text for line in told] == ["two and a half", "three"]


def test_a_line_is_printable_whatever_was_written() -> None:
    assert printable(b"\x1b[31mred\x1b[0m\x1b]0;title\x07 \x08 10%\r 20%\r") == " 20%"
    assert printable(b"\x1b[2Ja\tb\x00\xff") == "a       b\N{REPLACEMENT CHARACTER}"
    assert printable(b"crlf\r") == "crlf"
