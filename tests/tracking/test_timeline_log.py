from __future__ import annotations

import tracemalloc
from pathlib import Path

from search.timeline import GenerationTimes, WorkerShare
from tracking import timeline_log

SHARE = WorkerShare("host-0", 3, 1.5, 0.25, 12.0)


def times(number: int, told_s: float = 13.0) -> GenerationTimes:
    return GenerationTimes(number, 10.0, 12.0, told_s, (SHARE,), {"ValueError": 2})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    assert timeline_log.read(path) == []
    timeline_log.append(path, times(0))
    timeline_log.append(path, times(1))
    assert timeline_log.read(path) == [times(0), times(1)]


def test_a_line_cut_by_a_kill_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    timeline_log.append(path, times(0))
    with path.open("ab") as file:
        file.write(b'{"number": 1, "publ')
    timeline_log.append(path, times(2))
    assert timeline_log.read(path) == [times(0), times(2)]


def test_of_two_lines_for_a_generation_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    timeline_log.append(path, times(0))
    timeline_log.append(path, times(0, told_s=20.0))
    assert timeline_log.read(path) == [times(0, told_s=20.0)]


def test_generations_that_are_done_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    for number in range(4):
        timeline_log.append(path, times(number))
    with path.open("ab") as file:
        file.write(b'{"number": 1, "publ')
    timeline_log.keep_only(path, {0, 1})
    assert timeline_log.read(path) == [times(0), times(1)]
    assert path.read_bytes().endswith(b"}\n")


def test_dropping_generations_reads_one_line_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / timeline_log.FILE_NAME
    shares = tuple(WorkerShare(f"host-{n}", 3, 1.5, 0.25, 12.0) for n in range(500))
    for number in range(60):
        timeline_log.append(path, GenerationTimes(number, 10.0, 12.0, 13.0, shares))
    tracemalloc.start()
    timeline_log.keep_only(path, range(50))
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < path.stat().st_size / 5
    assert len(timeline_log.read(path)) == 50


def test_a_run_that_has_no_timeline_gets_none(tmp_path: Path) -> None:
    timeline_log.keep_only(tmp_path / timeline_log.FILE_NAME, {0})
    assert not list(tmp_path.iterdir())
