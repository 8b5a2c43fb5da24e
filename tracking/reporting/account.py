"""All that a report says about one run, read once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from errors import RunError
from tracking import metric_log, timeline_log
from tracking.reporting.metric_columns import WRITTEN, MetricColumns, read_columns
from tracking.reporting.units import ago, unix_of
from tracking.reporting.worker_times import WorkerTimes, read_worker_times
from tracking.store import StoredRun

MEANINGS = ("closing test", "last validation", "mean of the last candidates")
"""What a run's final fitness may be, best first."""

_HEARTBEAT_LATE_S = 120.0


class Score(NamedTuple):
    """A fitness and what it is the mean of."""

    value: float
    episodes: int | None
    meaning: str


@dataclass(frozen=True)
class RunAccount:
    """A run as it was when it was read.

    Attributes:
        run: where it is.
        entry: Sacred's ``run.json``; empty where there is none, or it is damaged.
        metrics, times: of its generations; ``times`` is ``None`` where the run has no timeline.
        read_s: Unix seconds at which it was read.
    """

    run: StoredRun
    entry: Mapping[str, Any]
    metrics: MetricColumns
    times: WorkerTimes | None
    read_s: float

    @property
    def run_id(self) -> int:
        return self.run.run_id

    @property
    def config(self) -> Mapping[str, Any]:
        return self.run.config

    @property
    def status(self) -> str:
        """Sacred's word, in small letters: running, completed, interrupted, failed; unknown."""
        return str(self.entry.get("status") or "unknown").lower()

    @cached_property
    def result(self) -> Mapping[str, Any]:
        """What it returned; empty before its end."""
        result = self.entry.get("result")
        return result if isinstance(result, dict) else {}

    @cached_property
    def final(self) -> Score | None:
        """The fitness to state: of the closing test, else theta's last, else the candidates'."""
        value = self.result.get("fitness_current")
        if isinstance(value, int | float) and self.result.get("fitness_current_episodes"):
            episodes = int(self.result["fitness_current_episodes"])
            return Score(float(value), episodes, MEANINGS[0])
        for name, meaning in (
            ("fitness/current", MEANINGS[1]),
            ("fitness/mean", MEANINGS[2]),
        ):
            last = self.metrics[name].last
            if last is not None:
                return Score(last, None, meaning)
        return None

    @property
    def started_s(self) -> float | None:
        return unix_of(self.entry.get("start_time"))

    @property
    def sessions(self) -> int:
        """How often it was begun or gone on with."""
        resumed = self.entry.get("resumed")
        return 1 + (len(resumed) if isinstance(resumed, list) else 0)

    @property
    def silence(self) -> str | None:
        """Of a run that says it goes on and was not heard of for a while: how long ago it was."""
        if self.status != "running":
            return None
        heard_s = [
            moment_s
            for moment_s in (
                unix_of(self.entry.get("heartbeat")),
                self.started_s,
                self.metrics[WRITTEN].last,
            )
            if moment_s is not None
        ]
        if not heard_s or self.read_s - max(heard_s) < _HEARTBEAT_LATE_S:
            return None
        return ago(self.read_s - max(heard_s))

    @property
    def error(self) -> str | None:
        """Of a run that failed, the last line of why."""
        trace = self.entry.get("fail_trace")
        if isinstance(trace, list) and trace:
            return str(trace[-1]).strip().splitlines()[-1] if str(trace[-1]).strip() else None
        return None

    @property
    def given(self) -> frozenset[str]:
        """Options that were given for this run, by name or by a named config."""
        meta = self.entry.get("meta")
        updates = meta.get("config_updates") if isinstance(meta, dict) else None
        return frozenset(updates) if isinstance(updates, dict) else frozenset()

    @property
    def command(self) -> str | None:
        """What followed ``with`` when it was begun."""
        meta = self.entry.get("meta")
        options = meta.get("options") if isinstance(meta, dict) else None
        words = options.get("UPDATE") if isinstance(options, dict) else None
        return " ".join(map(str, words)) if isinstance(words, list) and words else None

    @property
    def host(self) -> str | None:
        """The head's processor, system and Python."""
        host = self.entry.get("host")
        if not isinstance(host, dict):
            return None
        system = host.get("os")
        words = [
            host.get("cpu"),
            system[-1] if isinstance(system, list) and system else None,
            f"Python {host['python_version']}" if host.get("python_version") else None,
        ]
        return ", ".join(str(word) for word in words if word) or None

    @cached_property
    def notices(self) -> list[tuple[float, str]]:
        """What people were told: Unix seconds and the line, in order; damaged lines left out."""
        found = []
        for line in _lines(self.run.path / "notices.jsonl"):
            try:
                notice = json.loads(line)
                found.append((float(notice["time"]), str(notice["line"])))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    @cached_property
    def lacks(self) -> list[str]:
        """What this run cannot tell, and why, a sentence each."""
        return list(_lacks(self))


def read_account(run: StoredRun, now_s: float) -> RunAccount:
    """The run as it is now.

    Raises:
        RunError: a file of it is there and cannot be read.
    """
    return RunAccount(
        run,
        _read_entry(run.path / "run.json"),
        read_columns(run.path / metric_log.FILE_NAME),
        read_worker_times(run.path / timeline_log.FILE_NAME),
        now_s,
    )


def _read_entry(path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error})") from None
    return entry if isinstance(entry, dict) else {}


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _lacks(account: RunAccount) -> Iterator[str]:
    metrics, times = account.metrics, account.times
    if not account.entry:
        yield "run.json is missing or damaged: no status, times, command or result."
    if not metrics.num_generations:
        yield "No generation is complete: there are no curves yet."
        return
    if metrics.left_out:
        yield (
            f"{metrics.left_out} of the lines of metrics.jsonl are damaged or were written "
            "again, and are left out."
        )
    if times is None:
        yield (
            "There is no timeline.jsonl (releases before it did not write one): neither when each "
            "worker was busy nor failures by kind are known."
        )
    else:
        if times.left_out:
            yield (
                f"{times.left_out} of the lines of timeline.jsonl are damaged or were written "
                "again, and are left out."
            )
        missing = metrics.num_generations - len(times.published_t)
        if missing > 0:
            yield (
                f"The timeline lacks {missing} of {metrics.num_generations} generations: of "
                "sessions before it was written, or of one that was killed."
            )
    if not metrics["time/update_s"]:
        yield (
            "time/update_s was not recorded: the time in which the search learns is part of "
            "waiting."
        )
    if not metrics["fitness/current"]:
        yield "Theta was never validated: the candidates' mean stands in for its fitness."
    if not metrics.terms():
        yield "The environment names no terms of its reward."
