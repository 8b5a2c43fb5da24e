"""``--help`` answers at once: whatever takes long to load is loaded by what needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from env.evaluate import POOLS as POOLS_OF_EVALUATE
from search.run_config import POOLS
from tracking.learning_curve import _AXES
from tracking.plot import AXES
from tracking.sacred_import import Experiment
from tracking.usage import asks_for_help, usage

ROOT = Path(__file__).resolve().parents[1]

SLOW = {
    *("numpy", "gymnasium", "redis", "asyncio", "pymongo", "sacred", "pkg_resources", "torch"),
    *("ray", "matplotlib", "scipy", "numba", "boto3", "nevergrad", "cma", "opensim", "mujoco"),
    *("tensorboard", "imageio", "pyvista"),
}

COMMANDS = [
    *("es/experiment.py", "nevergrad_es/experiment.py"),
    *(f"es/head.py {word}".strip() for word in ("", "run-server", "acl", "flush", "status")),
    *("es/worker.py", "es/worker.py start-workers", "es/worker.py workers"),
    *("es/worker.py run-relay", "es/worker.py run-mirror"),
    *("env/render.py", "env/evaluate.py", "cluster/launch.py", "cluster/manage.py"),
    *(f"-m tracking.{name}" for name in ("runs", "report", "sync", "dashboard", "plot")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_that_takes_long_to_load(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Usage:" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "errors" in loaded or "tracking.usage" in loaded  # the list is one of imports
    assert not loaded & SLOW


def test_help_of_an_experiment_names_what_sacred_offers_and_is_not_refused() -> None:
    experiment = Experiment("es", base_dir=str(ROOT), save_git_info=False)
    text = usage("es/experiment.py", "What for.")
    assert "What for." in text
    refused = {"--unobserved", "--queue", "--id"}
    observers = {"--file_storage", "--mongo_db", "--s3", "--sql", "--tiny_db"}
    for option in experiment.all_cli_options:
        name = str(option.get_flags()[1])
        assert (name in text) == (name not in refused | observers), name
    for name, _ in experiment.gather_commands():
        assert f"\n  {name} " in text, name


@pytest.mark.parametrize("words", [["with", "lander", "--help"], ["help", "train"], [], ["train"]])
def test_what_asks_for_more_than_help_is_left_to_sacred(words: list[str]) -> None:
    assert not asks_for_help(["es/experiment.py", *words])


def test_what_options_may_be_is_said_alike_where_it_is_said_twice() -> None:
    assert POOLS_OF_EVALUATE == POOLS
    assert tuple(_AXES) == AXES
