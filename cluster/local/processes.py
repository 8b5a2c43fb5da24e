"""The processes of a machine that is only a part of this one: started, known again, ended.

A process id says little: it may be another's by now. What is kept beside it is when the kernel
started the process, and each process carries its machine's folder in its environment, which what it
starts inherits, whatever session that moves to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

MACHINE_VARIABLE = "WALKING_ES_MACHINE"
"""In the environment of every process of a machine: its folder."""

_KERNEL_TELLS = sys.platform == "linux"
_LOOK_EVERY_S = 0.1
_ALONE_S = 1.0
_SURELY_DEAD_S = 30.0
_ENTER = 'cd "$1" && shift && exec "$@"'


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The first process of a machine.

    Attributes:
        pid: its process id, and its group's.
        birth: when it was started, as the kernel says it; see `birth_of`.
    """

    pid: int
    birth: str

    @property
    def is_alive(self) -> bool:
        """Whether that very process is still there."""
        return birth_of(self.pid) == self.birth


def birth_of(pid: int) -> str | None:
    """What no two processes with one id share; None: there is no such process, or it is dead."""
    try:
        if _KERNEL_TELLS:
            # In ticks since the machine was started, which no setting of the clock can change.
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            state, ticks = words[0], words[19]
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return None if state in "ZX" else f"{boot}:{ticks}"
        process = psutil.Process(pid)
        dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if dead else f"{process.create_time():.2f}"
    except (OSError, psutil.Error):
        return None


def start(
    command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str]
) -> Leader:
    """Start a program that outlives us, in a session and a process group of its own.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        log: what it says is added there.
        environment: all that it finds in its environment.
    """
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _ENTER, "sh", str(folder), *command],
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, opened, 1),
                (os.POSIX_SPAWN_DUP2, opened, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(opened)
    return Leader(pid=pid, birth=birth_of(pid) or "")


def machines_at_work(clusters: Path) -> dict[Path, int]:
    """How many processes each machine's folder under ``clusters`` has."""
    found: dict[Path, int] = {}
    for process in psutil.process_iter():
        folder = _machine_of(process)
        if folder is not None and folder.is_relative_to(clusters):
            found[folder] = found.get(folder, 0) + 1
    return found


def end(machines: Mapping[Path, Leader | None], patience_s: float) -> list[int]:
    """End machines and wait: leaders are asked to see to it, and what is left when they have gone,
    or ``patience_s`` have passed, is killed. The process that calls is spared.

    Args:
        machines: the leader of each by the machine's folder; None: it is not known.
        patience_s: seconds that they have to end in order.

    Returns:
        Ids of processes that could not be killed.
    """
    leaders = [leader for leader in machines.values() if leader is not None]
    asked = [leader for leader in leaders if leader.is_alive and leader.pid != os.getpid()]
    for leader in asked:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader.pid, signal.SIGTERM)
    _await(lambda: not any(leader.is_alive for leader in asked), patience_s)
    _await(lambda: not _of(machines), min(patience_s, _ALONE_S))
    deadline_s = time.monotonic() + _SURELY_DEAD_S
    while left := _of(machines) or _of_after_a_moment(machines):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if time.monotonic() > deadline_s:
            return [process.pid for process in left]
        time.sleep(_LOOK_EVERY_S)
    return []


def _of(machines: Mapping[Path, Leader | None]) -> list[psutil.Process]:
    """Processes that carry a machine's mark, or are in its leader's group."""
    leaders = [leader for leader in machines.values() if leader is not None]
    for leader in leaders:
        _reap(leader.pid)
    groups = {leader.pid for leader in leaders if _has(leader)}
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        in_group = bool(groups) and _group_of(process.pid) in groups
        if (in_group or _machine_of(process) in machines) and birth_of(process.pid) is not None:
            found.append(process)
    return found


def _of_after_a_moment(machines: Mapping[Path, Leader | None]) -> list[psutil.Process]:
    """As `_of`: a program that is just being started carries no mark yet, for an instant."""
    time.sleep(_LOOK_EVERY_S)
    return _of(machines)


def _has(leader: Leader) -> bool:
    """Whether the group of that number is still the leader's: as long as it has members, the kernel
    gives its number to nobody else.
    """
    return birth_of(leader.pid) in (None, leader.birth)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _machine_of(process: psutil.Process) -> Path | None:
    try:
        folder = process.environ().get(MACHINE_VARIABLE)
    except (psutil.Error, OSError):  # another user's, or gone
        return None
    return Path(folder) if folder else None


def _reap(pid: int) -> None:
    """Take note of a child's death, where we are its parent."""
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)


def _await(is_so: Callable[[], bool], at_most_s: float) -> None:
    deadline_s = time.monotonic() + at_most_s
    while not is_so() and time.monotonic() < deadline_s:
        time.sleep(_LOOK_EVERY_S)
