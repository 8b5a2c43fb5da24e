"""The runs of a comparison: each by its own command in a process of its own, several at a time.

A run that is there already is not made again, one that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comparison.tasks import EVERY_TASK, FOR_ALL, SEARCHES, TASKS

import nevergrad_es.configs
import search.configs
from errors import ConfigError
from fleet.parent import dying_with
from search.run_config import defaults
from tracking.given_settings import merged
from tracking.store import StoredRun, open_run, run_ids

ROOT = Path(__file__).resolve().parents[2]
COST_FILE = "cost.jsonl"
_LOG = "log"
_POLL_S = 0.2
_GRACE_S = 20.0
_LAST_BYTES = 16_384

_OF_COMMAND: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "es": ({}, search.configs.NAMED_CONFIGS),
    "nevergrad_es": (nevergrad_es.configs.DEFAULTS, nevergrad_es.configs.NAMED_CONFIGS),
}
"""Of each command, what its defaults are where they are its own, and its named configs."""


class Trial(NamedTuple):
    """One search on one task from one seed: a run."""

    task: str
    search: str
    seed: int
    budget_steps: int

    def __str__(self) -> str:
        return f"{self.task}, {self.search}, seed {self.seed}"

    @property
    def options(self) -> dict[str, Any]:
        """What is given to the command beside the task's name."""
        found = SEARCHES[self.search]
        given = {**FOR_ALL, "tool": found.tool}
        for more in (
            TASKS[self.task].options,
            found.options.get(EVERY_TASK, {}),
            found.options.get(self.task, {}),
        ):
            given = merged(given, more)
        return {**given, "max_env_steps": self.budget_steps, "seed": self.seed}

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that the run is to have, but where it is kept."""
        changed, named = _OF_COMMAND[SEARCHES[self.search].command]
        settings = merged({**defaults(), **changed}, named[self.task].options)
        settings = merged(settings, self.options)
        return {name: settings[name] for name in settings if name not in ("runs_dir", "resume")}

    def folder(self, out: Path) -> Path:
        """What its command has for ``runs_dir``."""
        return out / self.task / self.search / f"seed-{self.seed}"

    def stored(self, out: Path) -> StoredRun | None:
        """The run as far as it is there.

        Raises:
            ConfigError: it was made with other settings.
        """
        ids = run_ids(self.folder(out))
        if not ids:
            return None
        run = open_run(ids[-1], self.folder(out))
        for name, value in self.settings.items():
            if run.config.get(name, value) != value:
                raise ConfigError(
                    f"{run.path} was made with {name}={run.config[name]}, not {value}: compare in "
                    "another folder with --out, or delete that one"
                )
        return run

    def command(self, out: Path) -> list[str]:
        """What makes the run, or goes on with it."""
        script = ROOT / SEARCHES[self.search].command / "experiment.py"
        begun = self.stored(out)
        if begun is not None and any((begun.path / "journal").glob("snapshot-*")):
            words = [f"resume={begun.run_id}"]
        else:
            words = [self.task, *(f"{name}={value}" for name, value in self.options.items())]
        return [sys.executable, str(script), "with", *words, f"runs_dir={self.folder(out)}"]


def is_complete(run: StoredRun | None) -> bool:
    """Whether the run came to its end and was tested."""
    return run is not None and run.status == "COMPLETED" and run.result is not None


def core_s(run: StoredRun) -> float:
    """Processor seconds of a run and all its processes; NaN where a session was not measured."""
    sessions = 1 + len(json.loads((run.path / "run.json").read_text()).get("resumed", []))
    path = run.path / COST_FILE
    lines = path.read_text().splitlines() if path.exists() else []
    if len(lines) != sessions:
        return math.nan
    return math.fsum(json.loads(line)["core_s"] for line in lines)


class Session:
    """A trial's command while it runs. It ends with this process, however that one ends."""

    def __init__(self, trial: Trial, out: Path) -> None:
        self.trial = trial
        self._folder = trial.folder(out)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.log = self._folder / _LOG
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                trial.command(out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C is ours to pass on
                preexec_fn=dying_with(os.getpid()),
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        process = self._process
        if process.returncode is None:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self._note_cost(usage.ru_utime + usage.ru_stime)
        return process.returncode

    @property
    def steps(self) -> float:
        """Simulator steps made so far, at the end of its last complete generation."""
        run = max(run_ids(self._folder), default=None)
        metrics = self._folder / str(run) / "metrics.jsonl"
        if run is None or not metrics.exists():
            return 0.0
        with metrics.open("rb") as file:
            file.seek(max(0, metrics.stat().st_size - _LAST_BYTES))
            lines = file.read().split(b"\n")
        return float(json.loads(lines[-2])["metrics"]["work/env_steps_total"]) if lines[1:] else 0.0

    def last_line(self) -> str:
        """Of what it had to say."""
        return (self.log.read_text(errors="replace").split("\n")[:-1] or ["nothing"])[-1]

    def stop(self) -> None:
        """Ask it to stop, which lets it be resumed."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, within_s: float) -> None:
        """Wait until it has stopped, and then no longer."""
        until_s = time.monotonic() + within_s
        while self.exit_code is None:
            if time.monotonic() > until_s:
                self._process.kill()
            time.sleep(_POLL_S / 4)

    def _note_cost(self, seconds: float) -> None:
        run = max(run_ids(self._folder), default=None)
        if run is not None:
            with (self._folder / str(run) / COST_FILE).open("a") as file:
                file.write(json.dumps({"core_s": round(seconds, 2)}) + "\n")


def make_runs(
    trials: Iterable[Trial],
    out: Path,
    jobs: int,
    *,
    ended: Callable[[Session], None],
    show: Callable[[Sequence[Session]], None],
) -> None:
    """Make the runs of ``trials``, at most ``jobs`` at a time; when this returns or raises, none
    runs any longer.

    Args:
        trials: those that are not complete yet.
        out: the comparison's folder.
        jobs: how many at a time.
        ended: told of each when it has ended, well or not.
        show: told several times a second which run.
    """
    waiting = deque(trials)
    running: list[Session] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Session(waiting.popleft(), out))
            time.sleep(_POLL_S)
            for session in [s for s in running if s.exit_code is not None]:
                running.remove(session)
                ended(session)
            show(running)
    finally:
        for session in running:
            session.stop()
        for session in running:
            session.end(_GRACE_S)
