"""Dying with the process that started us, however that one dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 1.0
_KERNEL_TELLS = sys.platform == "linux"


def die_with_parent(parent_pid: int, death_signal: int = signal.SIGKILL) -> None:
    """Have this process end when its parent does, even by SIGKILL.

    Linux's kernel sends ``death_signal``, which reaches a process stuck in C++ too; elsewhere a
    thread looks once a second.
    """
    if _KERNEL_TELLS:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the kernel had been told
            os._exit(1)
        return

    def look() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


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
