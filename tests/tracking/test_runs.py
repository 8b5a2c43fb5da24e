"""``python -m tracking.runs`` over runs that a Sacred command really made, and copies of them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from tiny_experiment import make_experiment

from search.journal import Journal
from tracking.catalogue.summary import ListedRun, listed_runs
from tracking.catalogue.tables import print_table
from tracking.observer import RunDirectoryObserver
from tracking.recorder import RunRecorder
from tracking.runs import arguments, main
from tracking.sacred_import import Run
from tracking.store import open_run


def recorded(run: Run, path: Path) -> dict[str, Any]:
    with (
        Journal(path / "journal"),
        RunRecorder(
            run, path, total_generations=20, num_checkpoints=4, notice=lambda line: None
        ) as recorder,
    ):
        for number in range(3):
            values = {"fitness/mean": 2.0 * number, "fitness/best_overall": 7.5 + run.config["lr"]}
            current = {"fitness/current": 1.0 + run.config["lr"]} if number == 1 else {}
            recorder.generation(number, values | current)
        recorder.notice("one rollout failed: NaN in a pose")
    return {"fitness_current": None, "ended": "all generations told"}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs 1, 2 and 12, which differ in ``lr``; 12 was killed."""
    runs = tmp_path_factory.mktemp("once") / "runs"
    for lr in (0.1, 0.02):
        experiment = make_experiment(recorded)
        experiment.observers.append(RunDirectoryObserver(runs))
        experiment.run(config_updates={"lr": lr})
    shutil.copytree(runs / "2", runs / "12")
    change(runs / "12", "run.json", status="RUNNING", meta={"named_configs": ["lander"]})
    change(runs / "12", "config.json", lr=0.5, env_name="LunarLanderContinuous-v3")
    return runs


@pytest.fixture
def runs_dir(made_once: Path, tmp_path: Path) -> Path:
    """The same, a test's own."""
    return Path(shutil.copytree(made_once, tmp_path / "runs"))


def change(directory: Path, name: str, **values: Any) -> None:
    there = json.loads((directory / name).read_text())
    (directory / name).write_text(json.dumps(there | values))


def ask(runs_dir: Path, *words: str, typed: str | None = None) -> Result:
    argv = [*arguments(words), f"--runs_dir={runs_dir}"]
    return CliRunner().invoke(main, argv, input=typed, catch_exceptions=False)


def listed(runs_dir: Path, *words: str) -> list[int]:
    """Ids that the list has, in its order."""
    shown = ask(runs_dir, *words, "--json")
    assert shown.exit_code == 0, shown.output
    return [row["run_id"] for row in json.loads(shown.stdout)]


def test_the_list_has_a_line_for_each_run_with_what_became_of_it(runs_dir: Path) -> None:
    head, *lines = ask(runs_dir).stdout.splitlines()
    columns = "id when config env gens current best status size"
    assert head.split() == columns.split()
    words = [line.split() for line in lines]
    assert [(line[0], line[-3]) for line in words] == [
        ("1", "completed"),
        ("2", "completed"),
        ("12", "killed"),
    ]
    assert words[2][3:8] == ["lander", "LunarLanderContinuous-v3", "3/20", "1.0", "7.5"]


def test_a_run_is_running_only_while_a_head_holds_it(runs_dir: Path) -> None:
    with Journal(runs_dir / "12" / "journal"):
        assert listed(runs_dir, "--status=running") == [12]
        assert listed(runs_dir, "--status=killed") == []
    assert listed(runs_dir, "--status=running") == []
    assert listed(runs_dir, "--status=Killed", "--status=completed") == [1, 2, 12]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("lr=0.1", [1]),
        ("lr!=0.1", [2, 12]),
        ("lr<0.2", [1, 2]),
        ("lr >= 0.1", [1, 12]),
        ("env_name=Lunar*", [12]),
        ("env_options.num_dims=3", [1, 2, 12]),
        ("env_options.other=3", []),
        ("hidden_sizes=[4, 4]", [1, 2, 12]),
        ("normalize_observations=True", [1, 2, 12]),
        ("normalize_observations=1", []),
        ("lr=1e-1", [1]),
        ("lr=1E-1", [1]),
        ("lr<1e-1", [2]),
        ("lr>5.e-2", [1, 12]),
        ("lr<=+.1e0", [1, 2]),
        ("lr='1e-1'", []),
        ("hidden_sizes=[4e0, 4]", [1, 2, 12]),
        ("max_ep_length=None", [1, 2, 12]),
        ("max_ep_length<5", []),
    ],
)
def test_where_chooses_by_any_setting(runs_dir: Path, condition: str, found: list[int]) -> None:
    assert listed(runs_dir, "--where", condition) == found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("network=off", [2]),
        ("network='off'", [2]),
        ("network=o*", [2]),
        ("network!=off", [1, 12]),
        ("network=False", []),
        ("normalize_observations=on", [1, 2, 12]),
    ],
)
def test_a_word_that_yaml_reads_otherwise_is_compared_as_text_with_text(
    runs_dir: Path, condition: str, found: list[int]
) -> None:
    change(runs_dir / "2", "config.json", network="off")
    assert listed(runs_dir, "--where", condition) == found


def test_conditions_add_up_and_the_order_is_any_columns(runs_dir: Path) -> None:
    assert listed(runs_dir, "--where=lr<0.2", "--where=lr>0.05") == [1]
    assert listed(runs_dir, "--sort=-best") == [1, 2, 12]
    (runs_dir / "1" / "metrics.jsonl").unlink()
    assert listed(runs_dir, "--sort=-best") == [2, 12, 1], "what has none comes last"
    assert listed(runs_dir, "--sort=best") == [2, 12, 1]
    assert listed(runs_dir, "--sort=-id", "--limit=2") == [12, 2]
    assert listed(runs_dir, "--limit=2") == [2, 12]
    assert listed(runs_dir, "--sort=best", "--limit=1") == [12], "and displaces none that has one"
    assert listed(runs_dir, "--sort=best", "--limit=2") == [2, 12]
    assert listed(runs_dir, "--sort=-best", "--limit=2") == [2, 12]
    assert listed(runs_dir, "--sort=best", "--limit=3") == [2, 12, 1]
    (runs_dir / "2" / "metrics.jsonl").unlink()
    assert listed(runs_dir, "--sort=best", "--limit=2") == [12, 1]


def test_tags_are_kept_with_the_run_and_find_it_again(runs_dir: Path) -> None:
    assert ask(runs_dir, "tag", "baseline", "1-11").exit_code == 0
    assert ask(runs_dir, "tag", "seed-3", "2").exit_code == 0
    assert listed(runs_dir, "--tag=baseline") == [1, 2]
    assert listed(runs_dir, "--tag=baseline", "--tag=seed-3") == [2]
    assert "baseline seed-3" in ask(runs_dir).stdout
    assert json.loads((runs_dir / "2" / "tags.json").read_text()) == ["baseline", "seed-3"]
    assert ask(runs_dir, "untag", "baseline", "1", "2").exit_code == 0
    assert listed(runs_dir, "--tag=baseline") == []
    assert not (runs_dir / "1" / "tags.json").exists()


def test_show_says_everything_about_a_run(runs_dir: Path) -> None:
    (runs_dir / "1" / "cost.json").write_text('{"time_s": 1, "usd": 1.24, "usd_per_hour": 3}')
    shown = ask(runs_dir, "show", "1").stdout
    for words in (
        "1, completed: all generations told",
        "sphere",
        "1.1; best candidate 7.6",
        "3 of 20 generations",
        "1.24 USD",
        "env_options={",
        "one rollout failed: NaN in a pose",
        f"env/render.py 1 --runs_dir={runs_dir}",
    ):
        assert words in shown, words
    killed = ask(runs_dir, "show", "12").stdout
    assert "12, killed: its head went without a word" in killed
    assert "with resume=12" in killed
    assert json.loads(ask(runs_dir, "show", "12", "--json").stdout)["config"]["lr"] == 0.5


def test_a_run_that_was_configured_with_an_infinity_is_not_damaged(runs_dir: Path) -> None:
    change(runs_dir / "2", "config.json", max_wall_s=float("inf"))
    assert listed(runs_dir, "--status=completed") == [1, 2]
    assert listed(runs_dir, "--status=damaged") == []


def test_a_damaged_run_is_listed_shown_and_removed(runs_dir: Path) -> None:
    (runs_dir / "2" / "config.json").write_text('{"lr"')
    (runs_dir / "12" / "run.json").unlink()
    (runs_dir / "12" / "metrics.jsonl").write_bytes(b"\xff\x00{torn")
    assert listed(runs_dir, "--status=damaged") == [2, 12]
    assert (
        "damaged: its config.json or run.json cannot be read" in ask(runs_dir, "show", "2").stdout
    )
    assert ask(runs_dir, "show", "12").exit_code == 0
    assert ask(runs_dir, "remove", "2", "12", "--yes").exit_code == 0
    assert listed(runs_dir) == [1]


def test_remove_asks_and_leaves_nothing(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ask(runs_dir, "remove", "1")
    assert refused.exit_code == 2
    assert "add --yes" in refused.stderr
    monkeypatch.setattr("tracking.runs._is_asked", lambda: True)
    assert "nothing was removed" in ask(runs_dir, "remove", "1", typed="n\n").stderr
    assert listed(runs_dir) == [1, 2, 12]
    removed = ask(runs_dir, "remove", "1", "2", typed="y\n")
    assert "remove 2 runs, " in removed.stdout
    assert [path.name for path in runs_dir.iterdir() if path.is_dir()] == ["12"]


def test_a_live_run_is_not_removed_nor_what_was_named_with_it(runs_dir: Path) -> None:
    with Journal(runs_dir / "12" / "journal"):
        refused = ask(runs_dir, "remove", "1-12", "--yes")
    assert refused.exit_code == 3
    assert "a head is at work on" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert listed(runs_dir) == [1, 2, 12]


def test_a_head_that_starts_while_runs_are_listed_is_not_refused(runs_dir: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from tracking.catalogue.summary import listed_runs\nprint(flush=True)\n"
        "while True:\n    [run.status for run in listed_runs(Path(sys.argv[1]))]\n"
    )
    lister = subprocess.Popen([sys.executable, "-c", script, str(runs_dir)], stdout=subprocess.PIPE)
    try:
        assert lister.stdout is not None
        lister.stdout.readline()
        for _ in range(300):
            Journal(runs_dir / "12" / "journal").close()
    finally:
        lister.kill()
        lister.communicate()


def test_metrics_are_exported_as_a_table(runs_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "metrics.csv"
    assert ask(runs_dir, "export", "1-2", "--out", str(out)).exit_code == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["run"], row["generation"]) for row in rows] == [
        (run, number) for run in "12" for number in "012"
    ]
    assert [row["fitness/mean"] for row in rows[:3]] == ["0.0", "2.0", "4.0"]
    assert [row["fitness/current"] for row in rows[:3]] == ["", "1.1", ""]
    assert ask(runs_dir, "export", "1-2").stdout == out.read_text()


def test_what_is_known_of_runs_is_exported_as_json(runs_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs.json"
    assert ask(runs_dir, "export", "12", "1", "--out", str(out)).exit_code == 0
    first, second = json.loads(out.read_text())
    assert (first["run_id"], first["status"], first["config"]["lr"]) == (12, "killed", 0.5)
    assert second["result"]["ended"] == "all generations told"
    assert second["metrics"][1]["metrics"]["fitness/current"] == 1.1


def test_an_archive_is_the_same_run_elsewhere(runs_dir: Path, tmp_path: Path) -> None:
    out, there = tmp_path / "run.tar.gz", tmp_path / "elsewhere"
    with Journal(runs_dir / "1" / "journal"):
        assert ask(runs_dir, "export", "1", "--out", str(out)).exit_code == 0
    with tarfile.open(out) as archive:
        names = archive.getnames()
        archive.extractall(there, filter="data")
    assert "1/journal/log" in names
    assert "1/journal/lock" not in names
    here, carried = open_run(1, runs_dir), open_run(1, there)
    assert carried.config == here.config
    assert carried.metrics().keys() == here.metrics().keys()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "run.tar.gz", "runs"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "13"], 2, "no run 13 in {}; the nearest are 1, 2, 12"),
        (["show", "walk"], 2, "no run walk in {}; the nearest are 1, 2, 12"),
        (["show", "1-2"], 2, "1-2 are 2 runs: expected one"),
        (["remove", "20-30", "--yes"], 2, "no run 20-30 in {}; the nearest are 1, 2, 12"),
        (["--where", "pop_sise=40"], 2, "no run has such an option; did you mean pop_size?"),
        (["--where", "pop_size"], 2, "is no condition: expected such as pop_size=40"),
        (["--where", "lr<high"], 2, "< needs a number"),
        (["--status", "complete"], 2, "did you mean completed?"),
        (["--sort", "fitness"], 2, "--sort fitness: expected id, when"),
        (["tag", "two words", "1"], 2, "'two words' is no tag"),
        (["untag", "other", "1"], 2, "no such run has the tag other (theirs: none)"),
        (["export", "1", "--out", "metrics.xls"], 2, "does not say what to write"),
        (["export", "1", "--format", "tar.gz"], 2, "an archive needs a file"),
        (["export", "1", "--out", "missing/x.csv"], 2, "No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    runs_dir: Path, words: Sequence[str], code: int, said: str
) -> None:
    shown = ask(runs_dir, *words)
    assert shown.exit_code == code
    assert said.format(runs_dir) in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_a_folder_without_runs_says_where_it_looked(tmp_path: Path) -> None:
    assert f"no runs in {tmp_path / 'none'}" in ask(tmp_path / "none").stdout
    refused = ask(tmp_path / "none", "show", "1")
    assert "there are no runs there; give the folder with --runs_dir" in refused.stderr


def test_a_thousand_runs_take_a_second_or_two(runs_dir: Path) -> None:
    kept = ("config.json", "run.json", "metrics.jsonl")
    for number in range(100, 1100):
        directory = runs_dir / str(number)
        directory.mkdir()
        for name in kept:
            os.link(runs_dir / "12" / name, directory / name)
    started_s = time.process_time()
    assert len(ask(runs_dir, "--where=lr=0.5", "--sort=-current").stdout.splitlines()) == 1002
    assert time.process_time() - started_s < 6


def test_a_long_run_is_summed_up_from_its_end(runs_dir: Path) -> None:
    path = runs_dir / "12" / "metrics.jsonl"
    row = json.loads(path.read_text().splitlines()[1])
    with path.open("w") as file:
        for number in range(50_000):
            file.write(json.dumps(row | {"generation": number}) + "\n")
    started_s = time.process_time()
    assert ListedRun(path.parent).summary.generations == 50_000
    assert time.process_time() - started_s < 1


@pytest.mark.parametrize("padding", [0, 200_000])
@pytest.mark.parametrize("num_rows", [1, 100, 5_000])
def test_the_last_validation_is_found_however_far_back(
    runs_dir: Path, num_rows: int, padding: int
) -> None:
    path = runs_dir / "12" / "metrics.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    assert "fitness/current" not in row["metrics"]
    with path.open("a") as file:
        for number in range(3, 3 + num_rows):
            file.write(json.dumps(row | {"generation": number}) + "\n")
        if padding:
            file.write(json.dumps(row | {"generation": 3 + num_rows, "more": "x" * padding}) + "\n")
        file.write('{"generation": 9, "metrics": {"fitness/current": 5')
    summary = ListedRun(path.parent).summary
    assert summary.generations == 3 + num_rows + bool(padding)
    assert (
        summary.current
        == json.loads(path.read_text().splitlines()[1])["metrics"]["fitness/current"]
    )


@pytest.mark.parametrize("columns", [50, 80, 140])
def test_a_line_fits_the_terminal(runs_dir: Path, columns: int) -> None:
    ask(runs_dir, "tag", "a-long-tag-for-a-baseline", "12")
    ask(runs_dir, "tag", "another-long-tag-for-a-baseline", "12")
    stream = io.StringIO()
    console = Console(file=stream, width=columns, force_terminal=True, color_system=None)
    print_table([run.summary for run in listed_runs(runs_dir)], console)
    head, *lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(len(line) <= columns for line in (head, *lines))
    for name in ("id", "config", "gens", "current", "status"):
        assert name in head.split()
    assert ("env" in head.split()) == (columns > 100)
    assert "lander" in lines[2]
    assert "killed" in lines[2]
