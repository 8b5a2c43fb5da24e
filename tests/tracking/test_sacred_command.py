"""The command line as a user meets it: exit codes, single lines, resume, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import CONFIG, make_experiment

from errors import ConfigError, RunError, RunLocked
from tracking.given_settings import CHANGEABLE_ON_RESUME
from tracking.sacred_command import run_command
from tracking.sacred_import import Run
from tracking.store import open_run

Command = Callable[..., int]


@pytest.fixture
def seen() -> list[dict[str, Any]]:
    """Config of each run whose main function was reached."""
    return []


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[dict[str, Any]]) -> Command:
    """Runs a command line in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def body(run: Run, path: Path) -> dict[str, int]:
        seen.append(dict(run.config))
        return {"generations": 3}

    def run(*words: str, **options: Any) -> int:
        experiment = make_experiment(options.pop("body", body))
        experiment.add_described_config(
            "lander", "Lands in two minutes.", {"env_name": "Lander", "lr": 0.2}
        )
        options.setdefault("last_line", lambda run_id, result: f"run {run_id} done: {result}")
        return run_command(experiment, ["es/experiment.py", *words], **options)

    return run


def test_named_configs_and_settings_combine_and_the_last_line_is_the_callers(
    command: Command, seen: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("with", "lander", "lr=0.3", "env_options.num_dims=9", "hidden_sizes=(8,)") == 0
    (config,) = seen
    assert (config["env_name"], config["lr"]) == ("Lander", 0.3)
    assert (config["env_options"], config["hidden_sizes"]) == ({"num_dims": 9}, [8])
    assert isinstance(config["seed"], int)
    captured = capsys.readouterr()
    assert captured.out == "run 1 done: {'generations': 3}\n"
    assert captured.err == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["with", "landr"], "unknown named config 'landr'; did you mean lander?"),
        (["with", "lrr=1"], "unknown setting 'lrr'; did you mean lr?"),
        (["with", "lr.x=1"], "setting lr takes one value"),
        (["with", "env_options=3"], "setting env_options takes settings of its own"),
        (["with", "seed=x"], "seed='x' must be an integer"),
        (["with", "seed=4294967296"], "must be an integer from 0 to 4294967295"),
        (["with", "lr=1", "lr.x=2"], "cannot read the settings"),
        (["with", "resume=7"], "there are no runs there"),
        (["with", "lr=-1"], "lr must be above 0"),
        (["with", "no.yml"], "config file no.yml cannot be read: No such file"),
        (["with", "bad.yml"], "config file bad.yml is not well-formed"),
        (["with", "list.json"], "must hold settings by name"),
        (["with", "typo.yml"], "unknown setting 'lrr' in typo.yml; did you mean lr?"),
        (["with", "runs_dir=bad.yml"], "runs_dir bad.yml is not writable"),
        (["lander"], "unknown command 'lander'; did you mean `with lander`?"),
        (["lr=1"], "did you mean `with lr=1`?"),
        (["print_confg"], "did you mean print_config"),
        (["--nonsense"], "cannot read `--nonsense`"),
        (["--unobserved"], "--unobserved: a run needs its directory"),
        (["--loglevel=LOUD"], "Unknown level"),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_no_run(
    command: Command,
    seen: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: str,
) -> None:
    (tmp_path / "bad.yml").write_text("lr: [0.1")
    (tmp_path / "typo.yml").write_text("lrr: 0.1")
    (tmp_path / "list.json").write_text("[1]")

    def check(config: Mapping[str, Any]) -> None:
        if config["lr"] <= 0:
            raise ConfigError("lr must be above 0")

    assert command(*words, check=check) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert seen == []
    assert not (tmp_path / "runs").exists()


def test_settings_come_from_files_too_and_the_command_line_wins(
    command: Command, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "mine.yml").write_text("lr: 0.7\nhidden_sizes: [3]\n")
    (tmp_path / "more.json").write_text('{"env_options": {"num_dims": 5}}')
    assert command("with", "lander", "mine.yml", "more.json", "env_name=Ant") == 0
    (config,) = seen
    assert (config["lr"], config["hidden_sizes"], config["env_name"]) == (0.7, [3], "Ant")
    assert config["env_options"] == {"num_dims": 5}


def test_sacreds_own_commands_still_work_and_leave_no_run(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command("print_config", "with", "lander") == 0
    assert "env_name = 'Lander'" in capsys.readouterr().out
    assert command("print_named_configs") == 0
    assert "Lands in two minutes." in capsys.readouterr().out
    assert command("print_dependencies") == 0
    assert "numpy" in capsys.readouterr().out
    assert command("--help") == 0
    assert "print_named_configs" in capsys.readouterr().out
    assert command("help", "print_config") == 0
    assert "Print the updated configuration" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_a_resume_goes_on_with_the_stored_config(
    command: Command, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert command("with", "lander", "lr=0.3", "env_options.num_dims=9", "seed=5") == 0
    assert command("with", "resume=1", "num_generations=40") == 0
    first, second = seen
    assert second == {**first, "resume": 1, "num_generations": 40}
    run = open_run(1, tmp_path / "runs")
    assert run.config["num_generations"] == 40
    # Saying again what is so already is no contradiction.
    assert command("with", "lander", "lr=0.3", "resume=1", "num_generations=50") == 0
    assert [path.name for path in (tmp_path / "runs").glob("[0-9]*")] == ["1"]


@pytest.mark.parametrize("word", ["lr=0.4", "seed=6", "env_options.num_dims=10", "lander"])
def test_a_resume_refuses_what_would_change_theta(
    command: Command, word: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command("with", "lr=0.3", "seed=5", "env_options.num_dims=9") == 0
    before = (tmp_path / "runs" / "1" / "run.json").read_bytes()
    capsys.readouterr()
    assert command("with", "resume=1", word) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: resume=1 goes on with ")
    assert error.count("\n") == 1
    assert (tmp_path / "runs" / "1" / "run.json").read_bytes() == before


def test_a_resume_survives_settings_that_came_and_went(
    command: Command, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert command("with", "lr=0.3") == 0
    path = tmp_path / "runs" / "1" / "config.json"
    config = json.loads(path.read_text())
    del config["history_len"]
    path.write_text(json.dumps({**config, "gone": 1}))
    assert command("with", "resume=1") == 0
    assert seen[1]["history_len"] == CONFIG["history_len"]
    assert "gone" not in seen[1]


def test_nothing_that_may_change_on_resume_names_the_search_env_or_policy() -> None:
    for key in ("seed", "lr", "sigma", "pop_size", "env_name", "network", "num_episodes"):
        assert key not in CHANGEABLE_ON_RESUME


def test_a_held_run_is_refused_with_its_own_exit_code(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command() == 0
    before = (tmp_path / "runs" / "1" / "run.json").read_bytes()
    capsys.readouterr()

    def hold(path: Path) -> AbstractContextManager[None]:
        raise RunLocked(f"another head is at work on {path}")

    assert command("with", "resume=1", hold=hold) == 3
    assert capsys.readouterr().err == "error: another head is at work on runs/1\n"
    assert (tmp_path / "runs" / "1" / "run.json").read_bytes() == before


def test_the_hold_lasts_as_long_as_the_run(command: Command) -> None:
    events: list[str] = []

    class Held(nullcontext[None]):
        def __exit__(self, *error: object) -> None:
            events.append("let go")

    def hold(path: Path) -> AbstractContextManager[None]:
        events.append(f"held {path}")
        return Held()

    def body(run: Run, path: Path) -> None:
        events.append("ran")

    assert command(body=body, hold=hold) == 0
    assert events == ["held runs/1", "ran", "let go"]


def test_an_error_of_ours_during_the_run_is_one_line_and_a_failed_run(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def body(run: Run, path: Path) -> None:
        raise RunError("no finite fitness:\n  do this")

    assert command(body=body) == 3
    assert capsys.readouterr().err == "error: no finite fitness: do this\n"
    assert open_run(1, tmp_path / "runs").status == "FAILED"


def test_a_defect_keeps_its_traceback(command: Command) -> None:
    def body(run: Run, path: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(body=body)


SCRIPT = """
import sys, time
sys.path[:0] = {path!r}
from tiny_experiment import make_experiment
from tracking.sacred_command import run_command

def body(run, path):
    try:
        print("started", flush=True)
        time.sleep(30)
    finally:
        time.sleep(0.5)
        print("cleaned up", flush=True)

sys.exit(run_command(make_experiment(body), ["es/experiment.py", "with", {runs_dir!r}]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_lets_the_run_clean_up_and_tells_how_to_go_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    runs_dir = tmp_path / "my runs"
    script = textwrap.dedent(SCRIPT).format(path=sys.path, runs_dir=f"runs_dir={runs_dir}")
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        child.send_signal(number)
        time.sleep(0.1)
        child.send_signal(number)  # an impatient second one must not stop the cleaning up
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
    assert err == ""
    assert out == (
        "cleaned up\n"
        "run 1 stopped; to go on: "
        f"python es/experiment.py with resume=1 runs_dir='{runs_dir}'\n"
    )
    assert child.returncode == code
    assert open_run(1, runs_dir).status == "INTERRUPTED"
