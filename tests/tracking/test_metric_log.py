from __future__ import annotations

import json
import math
from pathlib import Path

from tracking.metric_log import MetricLog, Row, read, rewrite


def test_rows_come_back_as_written_and_what_is_not_finite_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricLog(path)
    log.append(Row(0, 12.5, {"a": 1.0, "b": math.inf}))
    log.append(Row(1, 13.5, {"a": 0.1 + 0.2}))
    first, second = read(path)  # before the file is closed
    log.close()
    assert (first.number, first.time_s, first.metrics["a"]) == (0, 12.5, 1.0)
    assert math.isnan(first.metrics["b"])
    assert second.metrics == {"a": 0.1 + 0.2}
    assert json.loads(path.read_text().splitlines()[0])["metrics"]["b"] is None


def test_a_line_torn_by_a_kill_is_skipped_by_readers_and_cut_by_the_next_writer(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = Row(0, 1.0, {"a": 1.0}).line()
    path.write_bytes(whole + Row(1, 2.0, {"a": 2.0}).line()[:-5])
    assert [row.number for row in read(path)] == [0]
    log = MetricLog(path)
    log.append(Row(1, 3.0, {"a": 3.0}))
    log.close()
    assert path.read_bytes() == whole + Row(1, 3.0, {"a": 3.0}).line()


def test_of_two_rows_for_a_generation_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [Row(1, 1.0, {"a": 1.0}), Row(0, 2.0, {"a": 0.0}), Row(1, 3.0, {"a": 9.0})]
    rewrite(path, rows)
    assert [(row.number, row.metrics["a"]) for row in read(path)] == [(0, 0.0), (1, 9.0)]


def test_lines_that_are_not_rows_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('[1]\n{"generation":1}\nnull\n\n{"generation":2,"time":1,"metrics":{"a":1}}\n')
    assert [row.number for row in read(path)] == [2]


def test_a_file_that_is_not_there_holds_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "metrics.jsonl") == []
