"""A process of ours that may hang, leak or crash: how it starts, and what its end means."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from search.arithmetic import THREAD_VARIABLES
from search.messages import RolloutRecord

OWN_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
)
"""Signals that a simulator brings on itself; any other death is the machine's doing."""


_OF_THE_HEAD = ("ES_MONGO_", "ES_NOTIFY_")


def inherited_environment() -> dict[str, str]:
    """Our environment, for a process that evaluates: what it simulates, and modules of users, are
    to have no way to where runs are recorded and told of.
    """
    return {name: v for name, v in os.environ.items() if not name.startswith(_OF_THE_HEAD)}


def start_child(
    module: str,
    arguments: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    own_session: bool = False,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    """``python -m module``, told who its parent is, with one thread for every sum.

    Args:
        module: of ours, with a command that takes ``--parent-pid``.
        arguments: what else it is told; every user of the machine can read it.
        pass_fds: files that it inherits.
        environment: what else it finds in its environment.
        own_session: a Ctrl-C in our terminal does not reach it, and its own children can be ended
            with it.
        stderr: where it complains, as `subprocess.Popen` takes it.
    """
    # -P: the folder we happen to be in must not take the place of our modules.
    command = [sys.executable, "-P", "-m", module, "--parent-pid", str(os.getpid()), *arguments]
    threads = dict.fromkeys(THREAD_VARIABLES, "1")
    return subprocess.Popen(
        command,
        env={**inherited_environment(), **threads, **(environment or {})},
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=own_session,
    )


def leave_no_core() -> None:
    """Have this process write no core file when it crashes: its guard starts another, and many of
    some hundred megabytes would fill the disk.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def cause_of(code: int) -> str:
    """An exit code of `subprocess.Popen`, as the rest of a sentence."""
    if code >= 0:
        return f"left with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-code}"


def death_record(rollout: int, attempt: int, code: int, copy: int = 0) -> RolloutRecord:
    """What is said for the rollout that ran in a process that ended with ``code``.

    ``failed`` where the simulator brought it on itself; ``lost``, to be tried again without
    counting as an attempt, where the machine or somebody on it did.
    """
    if -code in OWN_SIGNALS:
        error = f"the simulator's process {cause_of(code)}"
        return RolloutRecord(rollout, attempt, "failed", copy, error=error)
    return RolloutRecord(rollout, attempt, "lost", copy, error=f"its process {cause_of(code)}")


def overrun_record(
    rollout: int, attempt: int, rollout_timeout_s: float, copy: int = 0
) -> RolloutRecord:
    """What is said for a rollout whose process was killed because it took too long."""
    error = f"took longer than rollout_timeout_s={rollout_timeout_s:g}"
    return RolloutRecord(rollout, attempt, "failed", copy, error=error, host_failure=True)
