"""Processes that a test started, and those they started in turn: which there are, and of what kind.

Everything bears a mark in its environment, so that what is left of it can be found whoever its
parent is by then.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "CHAOS_MARK"
_PATIENCE_S = 20.0


class Mark:
    """One test's."""

    def __init__(self) -> None:
        self.value = secrets.token_hex(8)

    @property
    def environment(self) -> dict[str, str]:
        """What our processes start with."""
        return {**os.environ, MARK: self.value, "PYTHONUNBUFFERED": "1"}

    def bearers(self) -> list[psutil.Process]:
        """Every living process that bears it."""
        return [process for process in psutil.process_iter() if self._is_on(process)]

    def left_running(self) -> list[str]:
        """Command lines of what is still there after a patient wait."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while bearers := self.bearers():
            if time.monotonic() > deadline_s:
                return [" ".join(_command(process)) for process in bearers]
            time.sleep(0.05)
        return []

    def end_all(self) -> None:
        """For a test that has failed."""
        for process in self.bearers():
            kill(process)

    def _is_on(self, process: psutil.Process) -> bool:
        try:
            marked: bool = process.environ().get(MARK) == self.value
            return marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def kill(process: psutil.Process) -> bool:
    """By SIGKILL; whether it was there."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.Error:
        return False
    return True


def by_kind(parent_pid: int) -> dict[str, list[psutil.Process]]:
    """A supervisor's children and theirs, as `fault_count.KILLS` calls them."""
    found: dict[str, list[psutil.Process]] = {"worker": [], "relay": [], "local redis": []}
    with suppress(psutil.Error):
        for process in psutil.Process(parent_pid).children(recursive=True):
            kind = _kind(_command(process))
            if kind:
                found[kind].append(process)
    return found


def _kind(command: list[str]) -> str:
    if "fleet.machine.child" in command:
        return "worker"
    if "fleet.relay.process" in command:
        return "relay"
    names = {Path(word).name for word in command[:1]}
    return "local redis" if names & {"redis-server", "valkey-server"} else ""


def _command(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words


class Episodes:
    """Which processes are in an episode of `slow_world.SlowWorld` right now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def under_way(self) -> set[int]:
        """Their process ids."""
        return {int(p.name) for p in self.folder.iterdir() if p.name.isdecimal() and _is_worker(p)}

    def are_under_way(self, among: Iterable[psutil.Process] | None = None) -> bool:
        """In any of these processes; in any at all."""
        pids = self.under_way()
        return bool(pids if among is None else pids & {process.pid for process in among})


def _is_worker(flag: Path) -> bool:
    """Whether the process that left ``flag`` is still there, and not another by its number."""
    try:
        return _kind(psutil.Process(int(flag.name)).cmdline()) == "worker"
    except psutil.Error:
        return False
