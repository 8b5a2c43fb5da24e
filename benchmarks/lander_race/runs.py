"""A run of either side: made, watched until it has learnt to land, and put to the test.

Wall time counts from the start of the command, as a user waits for it. What a run knew, and when,
is read from the files it keeps of every generation; it is tested afterwards, every two seconds of
the run, so that no side pays for the test. To know when to stop a run, its newest policy is looked
at while it goes on, on either side alike: at idle priority, and for a tenth of one core at most.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lander_race.scores import Examiners, Learnt, Score, score
from lander_race.settings import OURS, SIZE_IN, SIZE_OUT, Settings, command
from rivals.evotorch_policies import from_evotorch

from fleet.parent import dying_with
from policy.statistics import ObservationStatistics
from tracking import metric_log

GRID_S = 2.0
RESULT = "result.json"
_LOOK_SHARE = 0.1
_POLL_S = 0.1
_END_S = 60.0
_MANY = 2**30  # as many observations as make a deviation exact


class Point(NamedTuple):
    """What a run knew at one moment.

    Attributes:
        time_s: since its command's start.
        path: of the file it wrote.
    """

    time_s: float
    path: Path


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        side, settings, seed: which one.
        seconds: how long it was given.
        load: of the machine when it began.
        reached_s: when it first passed the test, as far as it was tested; ``None``: it never did.
        steps: simulator steps by then, validation included.
        points: of each tested moment: time, mean reward, and over how many episodes.
    """

    side: str
    settings: Settings
    seed: int
    seconds: float
    load: float
    reached_s: float | None
    steps: int | None
    points: list[tuple[float, float, int]]

    @property
    def best(self) -> float:
        """The greatest mean reward; minus infinity where nothing was there to test."""
        return max((mean for _, mean, _ in self.points), default=float("-inf"))


def outcome_in(folder: Path) -> Outcome | None:
    """Of the complete run there, if there is one."""
    if not (folder / RESULT).exists():
        return None
    found = json.loads((folder / RESULT).read_text())
    settings = Settings(*found.pop("settings"))
    return Outcome(settings=settings, **found)


def make_run(
    side: str,
    settings: Settings,
    seed: int,
    seconds: float,
    folder: Path,
    examiners: Examiners,
    *,
    evotorch: str,
    cores: int,
) -> Outcome:
    """Run a side's command for so long at most, test it, and leave the outcome in ``folder``, where
    nothing else stays.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    load = os.getloadavg()[0]
    words = command(side, settings, seed, folder, evotorch=evotorch, cores=cores)
    points = _watched(words, side, settings, folder, seconds, examiners)
    reached, tested = _tested(side, settings, on_grid(points), examiners)
    outcome = Outcome(
        side,
        settings,
        seed,
        seconds,
        load,
        None if reached is None else reached.time_s,
        None if reached is None else _steps(side, reached.path),
        tested,
    )
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "log":
            path.unlink()
    (folder / RESULT).write_text(json.dumps(outcome._asdict()) + "\n")
    return outcome


def on_grid(points: list[Point]) -> list[Point]:
    """The newest at every second second, and the last of all."""
    chosen: list[Point] = []
    for point, after in itertools.zip_longest(points, points[1:]):
        # Somewhere from here until the next one lies a tick of the grid.
        if after is None or point.time_s // GRID_S < after.time_s // GRID_S:
            chosen.append(point)
    return chosen


def _watched(
    words: list[str],
    side: str,
    settings: Settings,
    folder: Path,
    seconds: float,
    examiners: Examiners,
) -> list[Point]:
    """Let the command run until it has learnt to land or its time is up; what it knew until then,
    the policy that was seen to land last.
    """
    with (folder / "log").open("wb") as log:
        started_s = time.time()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=dying_with(os.getpid()),
        )
    watch, landed = _Watch(side, settings, examiners), None
    try:
        while landed is None and time.time() - started_s < seconds and process.poll() is None:
            time.sleep(_POLL_S)
            landed = watch.landed(points_of(side, folder, started_s))
    finally:
        _end(process)
    points = points_of(side, folder, started_s)
    until_s = seconds if landed is None else landed.time_s
    return [point for point in points if point.time_s <= until_s]


class _Watch:
    """Looks at the newest policy of a run, and rests nine times as long as it took."""

    def __init__(self, side: str, settings: Settings, examiners: Examiners) -> None:
        self._side, self._settings, self._examiners = side, settings, examiners
        self._look: Future[Score] | None = None
        self._point: Point | None = None
        self._rest_until_s = 0.0

    def landed(self, points: list[Point]) -> Point | None:
        """A policy that passed the test; to be asked again and again."""
        now_s = time.monotonic()
        if self._look is None:
            if points and now_s >= self._rest_until_s:
                self._point = points[-1]
                learnt = _learnt(self._side, self._settings, self._point.path)
                self._look = self._examiners.looks.submit(score, learnt)
        elif self._look.done():
            found, self._look = self._look.result(), None
            if found.is_enough:
                return self._point
            self._rest_until_s = now_s + found.core_s * (1 / _LOOK_SHARE - 1)
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop; kill whatever it leaves."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def points_of(side: str, folder: Path, started_s: float) -> list[Point]:
    """What is there of a run, oldest first.

    Ours keeps the theta that a generation was drawn from when that one is over: it was there as
    soon as the generation before it was.
    """
    pattern = "*/checkpoints/generation_*.npz" if side == OURS else "*.npz"
    files = sorted(folder.glob(pattern))
    times_s = [path.stat().st_mtime - started_s for path in files]
    if side == OURS:
        times_s = [0.0, *times_s[:-1]]
    return [Point(time_s, path) for time_s, path in zip(times_s, files, strict=False)]


def _learnt(side: str, settings: Settings, path: Path) -> Learnt:
    """The policy of a run's file, in our terms."""
    with np.load(path) as arrays:
        theta, statistics = arrays["theta"], None
        if side == OURS:
            if "count" in arrays:
                statistics = ObservationStatistics.of(
                    int(arrays["count"]), arrays["mean"], arrays["m2"]
                )
            return Learnt(settings.policy, theta, statistics)
        if "mean" in arrays:
            mean_o, deviation_o = (arrays[name].astype(float) for name in ("mean", "deviation"))
            statistics = ObservationStatistics.of(_MANY, mean_o, deviation_o**2 * _MANY)
    ours = from_evotorch(settings.policy, theta, SIZE_IN, SIZE_OUT)
    return Learnt(settings.policy, ours, statistics)


def _tested(
    side: str, settings: Settings, points: list[Point], examiners: Examiners
) -> tuple[Point | None, list[tuple[float, float, int]]]:
    """The first that passes, and what was tested until then; all of them where none passes."""
    tests = [examiners.tests.submit(score, _learnt(side, settings, point.path)) for point in points]
    tested = []
    for point, test in zip(points, tests, strict=True):
        found = test.result()
        tested.append((round(point.time_s, 2), round(found.mean, 2), found.episodes))
        if found.is_enough:
            for later in tests:
                later.cancel()
            return point, tested
    return None, tested


def _steps(side: str, path: Path) -> int:
    """Simulator steps that a run had made when it knew what the file holds."""
    if side != OURS:
        with np.load(path) as arrays:
            return int(arrays["steps"])
    number = int(path.stem.removeprefix("generation_"))
    row = next(
        row for row in metric_log.read(path.parents[1] / "metrics.jsonl") if row.number == number
    )
    return int(row.metrics["work/env_steps_total"] - row.metrics["work/env_steps"])
