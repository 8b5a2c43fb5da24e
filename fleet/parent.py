"""Dying with the process that started us, however that one dies."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 1.0
_KERNEL_TELLS = sys.platform == "linux"


def die_with_parent(parent_pid: int, lifeline_fd: int | None = None) -> None:
    """Have this process end when its parent does, even by SIGKILL.

    Linux's kernel sees to it, which reaches a process stuck in C++ too; elsewhere a thread looks
    once a second.

    Args:
        parent_pid: the parent's process id.
        lifeline_fd: of a pipe to which the parent alone can write: with it all that this process
            has started in its session's group ends too.
    """
    if _KERNEL_TELLS and lifeline_fd is not None and os.getpgrp() == os.getpid():
        # And no death signal, which may come before the pipe is closed: we would take with us what
        # the kernel was to do then.
        _kill_group_at_hangup(lifeline_fd)
    elif _KERNEL_TELLS:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the kernel had been told
            os._exit(1)
        return

    def look() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _kill_group_at_hangup(lifeline_fd: int) -> None:
    """Signal-driven input, with SIGKILL for the signal and our whole group to get it: the one event
    on a pipe that nobody writes to is its end.
    """
    os.set_inheritable(lifeline_fd, False)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline_fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, os.O_ASYNC)
    waiting = select.poll()
    waiting.register(lifeline_fd, 0)
    if waiting.poll(0):  # it ended before the kernel had been told
        os.killpg(0, signal.SIGKILL)


def dying_with(parent_pid: int, death_signal: int = signal.SIGTERM) -> Callable[[], None] | None:
    """A ``preexec_fn`` that ties a program which is not ours to us; ``None`` where none can."""
    if not _KERNEL_TELLS:
        return None
    libc = ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return tie
