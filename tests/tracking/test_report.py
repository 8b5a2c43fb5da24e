"""The page of a report: whole in itself, whatever the runs are like."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_runs import change_entry, few_metrics, make_run, metrics_of, times_of, write_run
from tiny_experiment import RunOnce

from tracking import timeline_log
from tracking.catalogue.summary import ListedRun
from tracking.report import main
from tracking.reporting.page import MOST_DETAILED
from tracking.reporting.palette import CSS_NAMES

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "input", "br", "img", "circle", "rect", "path"}


class Page(HTMLParser):
    """What is in a page, and whether it is well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.num_plots = 0
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href"} or "url(" in (value or ""):
                self.addresses.append(value or "")
        self.num_plots += tag == "svg" and ("role", "img") in attrs

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def report(tmp_path: Path, *words: str) -> Result:
    options = ["--runs_dir", str(tmp_path / "runs"), "--out", str(tmp_path / "page.html")]
    return CliRunner().invoke(main, [*words, *options], catch_exceptions=False)


def page_of(tmp_path: Path, *words: str) -> Page:
    done = report(tmp_path, *words)
    assert (done.exit_code, done.output) == (0, f"wrote {tmp_path / 'page.html'}\n")
    return Page((tmp_path / "page.html").read_text())


def test_a_run_becomes_one_page_that_needs_no_other_file(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once, seed=7)
    before = sorted((tmp_path / "runs").rglob("*"))
    page = page_of(tmp_path, "1")
    html = (tmp_path / "page.html").read_text()
    # Curves, terms and lengths over three axes, time, workers and failures; each wide and narrow.
    assert page.num_plots == 2 * (3 * 3 + 3)
    assert len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        target = re.fullmatch(r"(?:url\()?#([^)]+)\)?", address)
        assert target is not None, address
        assert target.group(1) in page.ids
    assert not re.findall(r"https?://(?!www\.w3\.org/1999/xlink)", html)
    assert "<script" not in html
    assert not any(colour in html for colour in CSS_NAMES)
    for words in ("sphere: run 1", "90.50", "closing test, 100 episodes", "10 s", "the knee"):
        assert words in page.text
    assert sorted((tmp_path / "runs").rglob("*")) == before


def test_labels_of_axes_are_never_rounded(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once, metrics=lambda number: metrics_of(number, 0.11))
    assert "0.25" in page_of(tmp_path, "1").text


def test_several_runs_are_compared_and_each_has_its_part(run_once: RunOnce, tmp_path: Path) -> None:
    for seed in range(2):
        make_run(run_once, seed=seed)
    make_run(run_once, metrics=few_metrics, seed=0, lr=0.5)
    uid = ListedRun(tmp_path / "runs" / "2").summary.uid
    page = page_of(tmp_path, "1", "2", "3", "2", uid)
    for words in (
        "3 runs of 2 configurations",
        "A: lr=0.1, 2 seeds",
        "B: lr=0.5, 1 seed",
        "What differs option A B lr 0.1 0.5",
        "Final fitness",
        "Run 3",
    ):
        assert words in page.text
    assert page.text.count("The reward's terms") == 2 * 2


def test_of_very_many_runs_only_the_comparison_is_shown(run_once: RunOnce, tmp_path: Path) -> None:
    for seed in range(MOST_DETAILED + 1):
        make_run(run_once, metrics=few_metrics, seed=seed)
    page = page_of(tmp_path, *map(str, range(1, MOST_DETAILED + 2)))
    assert "they differ by chance alone" in page.text
    assert "name fewer of them" in page.text
    assert page.num_plots == 2 * (1 + 1)


def test_a_run_of_an_older_release_says_what_it_lacks(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once)
    (tmp_path / "runs" / "1" / timeline_log.FILE_NAME).unlink()
    page = page_of(tmp_path, "1")
    assert "There is no timeline.jsonl" in page.text
    assert "Learning curve" in page.text
    assert "Time per generation" in page.text
    assert "Timeline by" not in page.text


def test_a_run_without_a_generation_says_so(run_once: RunOnce, tmp_path: Path) -> None:
    run_once(lambda run, path: None)
    run_once(lambda run, path: None)
    assert "No generation is complete" in page_of(tmp_path, "1").text
    assert "No run has a fitness yet" in page_of(tmp_path, "1", "2").text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "RUNNING", "heartbeat": None}, "last heard of"),
        ({"status": "RUNNING", "heartbeat": "2099-01-01T00:00:00"}, "still running"),
        ({"status": "INTERRUPTED"}, "resume=1 goes on with it"),
        ({"status": "FAILED", "fail_trace": ["Traceback", "x.Y: no knee\n"]}, "failed: x.Y: no"),
        ({"status": "FAILED"}, "does not say of what"),
    ],
)
def test_how_a_run_stands_is_said_first(
    run_once: RunOnce, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    make_run(run_once, metrics=few_metrics)
    change_entry(tmp_path / "runs" / "1", result=None, start_time="2024-01-01T00:00:00", **changes)
    page = page_of(tmp_path, "1")
    assert says in page.text
    assert "last validation" in page.text


def test_figures_that_are_no_numbers_are_gaps(run_once: RunOnce, tmp_path: Path) -> None:
    def broken(number: int) -> dict[str, float]:
        nan = float("nan")
        metrics = metrics_of(number)
        metrics["fitness/mean"] = nan
        if number % 2:
            metrics |= {"fitness/current": nan, "time/elapsed_s": nan, "reward/effort": nan}
        return metrics

    make_run(run_once, metrics=broken)
    make_run(run_once, metrics=lambda number: dict.fromkeys(metrics_of(number), float("nan")))
    page = page_of(tmp_path, "1", "2")
    assert "nan" not in page.text.lower().split()
    assert "Learning curve" in page.text


def test_a_damaged_directory_is_read_as_far_as_it_goes(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once)
    path = tmp_path / "runs" / "1"
    (path / "run.json").write_text("{")
    for name in ("metrics.jsonl", timeline_log.FILE_NAME):
        with (path / name).open("ab") as file:
            file.write(b'\x00\xff torn\n{"number"')
    page = page_of(tmp_path, "1")
    assert "run.json is missing or damaged" in page.text
    assert "2 of the lines of metrics.jsonl are damaged" in page.text
    assert "2 of the lines of timeline.jsonl are damaged" in page.text
    (path / "metrics.jsonl").unlink()
    (path / "metrics.jsonl").mkdir()
    done = report(tmp_path, "1")
    assert (done.exit_code, done.output.count("\n")) == (3, 1)
    assert "metrics.jsonl cannot be read" in done.output
    (path / "config.json").write_text("{")
    done = report(tmp_path, "1")
    assert (done.exit_code, done.output.count("\n")) == (3, 1)


def test_what_cannot_be_reported_is_one_line(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once, metrics=few_metrics)
    for run_id in ("7", "nearly"):
        done = report(tmp_path, "1", run_id)
        assert (done.exit_code, done.output.count("\n")) == (2, 1)
        assert f"no run {run_id} in {tmp_path / 'runs'}; the nearest" in done.output
    done = CliRunner().invoke(main, ["1", "--runs_dir", str(tmp_path / "elsewhere")])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "give the folder with --runs_dir FOLDER" in done.output
    out = ["--runs_dir", str(tmp_path / "runs"), "--out", str(tmp_path / "no" / "page.html")]
    done = CliRunner().invoke(main, ["1", *out])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "cannot write" in done.output


def test_nothing_in_a_setting_becomes_part_of_the_page(run_once: RunOnce, tmp_path: Path) -> None:
    evil = "</table><script>alert(1)</script>$x$"
    make_run(run_once, metrics=few_metrics, env_name=evil)
    make_run(run_once, metrics=few_metrics, env_name=evil + "2")
    page_of(tmp_path, "1", "2")
    html = (tmp_path / "page.html").read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_small_videos_are_part_of_the_page_and_others_beside_it(
    run_once: RunOnce, tmp_path: Path
) -> None:
    make_run(run_once, metrics=few_metrics)
    path = tmp_path / "runs" / "1"
    data = b"\x00\x00\x00\x18ftypmp42"
    (path / "final.mp4").write_bytes(data)
    page = page_of(tmp_path, "1")
    assert f"data:video/mp4;base64,{base64.b64encode(data).decode()}" in page.addresses
    assert "part of this page" in page.text
    (path / "videos").mkdir()
    (path / "videos" / ".generation_000005.mp4").write_bytes(data)  # one that is being written
    (path / "videos" / "generation_000009.mp4").symlink_to(path / "gone")
    page = page_of(tmp_path, "1", "--video_mb", "0.00001")
    assert "runs/1/final.mp4" in page.addresses
    assert "too large" in page.text


def test_what_was_said_in_the_run_is_kept(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once, metrics=few_metrics)
    lines = [f'{{"time": {n}, "line": "notice number {n}."}}' for n in range(40)]
    (tmp_path / "runs" / "1" / "notices.jsonl").write_text("\n".join(["torn{", *lines]))
    text = page_of(tmp_path, "1").text
    assert "The last of 40." in text
    assert "notice number 39." in text
    assert "notice number 9." not in text


def test_what_a_cluster_cost_is_shown(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once, metrics=few_metrics)
    assert "USD" not in page_of(tmp_path, "1").text
    cost = {"time_s": 1.7e9, "usd": 3.417, "usd_per_hour": 1.2, "budget_usd": 20.0}
    (tmp_path / "runs" / "1" / "cost.json").write_text(json.dumps(cost))
    text = page_of(tmp_path, "1").text
    assert "3.42 USD" in text
    assert "budget 20.00 USD" in text


def test_a_run_that_was_resumed_shows_its_pause(run_once: RunOnce, tmp_path: Path) -> None:
    make_run(run_once, metrics=few_metrics)
    path = tmp_path / "runs" / "1" / timeline_log.FILE_NAME
    path.unlink()
    for number in range(10):
        timeline_log.append(path, times_of(number, pause_s=7260.0))
    change_entry(tmp_path / "runs" / "1", resumed=[{"time": "2024-01-01T00:00:00"}])
    text = page_of(tmp_path, "1").text
    assert "paused 2 h 01 min" in text
    assert "2 sessions" in text


def test_a_page_of_a_very_long_run_is_no_larger_than_others(
    run_once: RunOnce, tmp_path: Path
) -> None:
    run_once(lambda run, path: write_run(path, 5000))
    page = page_of(tmp_path, "1")
    assert "Each point is the mean of up to 13 generations" in page.text
    assert (tmp_path / "page.html").stat().st_size < 1_000_000


@pytest.mark.parametrize("options", [[], ["tool=OnePlusOne", "asynchronous=True", "pop_size=4"]])
def test_a_real_run_is_reported(tmp_path: Path, options: list[str]) -> None:
    words = ["sphere", "pool=serial", "num_generations=6", f"runs_dir={tmp_path / 'runs'}"]
    folder = "nevergrad_es" if options else "es"
    subprocess.run(
        [sys.executable, f"{folder}/experiment.py", "with", *words, *options],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    page = page_of(tmp_path, "1")
    assert "Timeline by worker" in page.text
    assert "updating: the search learns" in page.text
    assert "all of its generations" not in page.text


def test_each_picture_of_the_documentation_says_how_it_was_taken() -> None:
    text = (ROOT / "docs" / "report.md").read_text()
    taken = dict(re.findall(r"--screenshot=(\S+) --window-size=(\d+,\d+) ", text))
    sizes = {}
    for name in re.findall(r"\]\((\S+\.png)\)", text):
        header = (ROOT / "docs" / name).read_bytes()[:24]
        sizes[name] = f"{int.from_bytes(header[16:20])},{int.from_bytes(header[20:])}"
    assert taken == sizes
