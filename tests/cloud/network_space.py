"""Network namespaces of Linux, which live as long as something holds them open."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_NEW_NETWORK = 0x40000000
_Result = TypeVar("_Result")


class NetworkSpace:
    """A network of its own; gone with whoever holds it, even if that one is killed.

    Args:
        descriptor: open file of it; closed by `close`.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def new(cls) -> NetworkSpace:
        """One with nothing in it.

        Raises:
            OSError: this system permits none.
        """

        def make() -> int:
            _checked(_libc().unshare(_NEW_NETWORK))
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        return cls(_in_a_thread(make))

    @classmethod
    def of(cls, pid: int) -> NetworkSpace:
        """The one that a process is in."""
        return cls(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def do(self, act: Callable[[], _Result]) -> _Result:
        """What ``act`` gives from in there. Sockets that it opens stay there."""

        def enter() -> _Result:
            _checked(_libc().setns(self._descriptor, _NEW_NETWORK))
            return act()

        return _in_a_thread(enter)

    def ip(self, *commands: str) -> None:
        """Have iproute2 do these things in there, one after the other.

        Raises:
            OSError: it would not, or is not installed.
        """
        words = [shutil.which("ip") or "/usr/sbin/ip", "-batch", "-"]
        done = self.do(
            lambda: subprocess.run(words, input="\n".join(commands), text=True, capture_output=True)
        )
        if done.returncode:
            raise OSError(f"ip: {done.stderr.strip()}")

    def close(self) -> None:
        """Hold it no longer."""
        os.close(self._descriptor)


def why_no_namespaces() -> str:
    """Why this system lets us make no machines with namespaces of their own; empty: it does."""
    if not Path("/proc/self/ns/net").exists():
        return "this is no Linux"
    if os.geteuid() != 0:
        return "only root may make them"
    try:
        space = NetworkSpace.new()
        try:
            space.ip("link add probe type bridge", "link add near type veth peer name far")
        finally:
            space.close()
        wanted = ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork"]
        probe = (
            "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/r && cd /mnt && mount -t overlay"
        )
        probe += " overlay -o lowerdir=/,upperdir=u,workdir=w r && mount -t proc proc r/proc"
        subprocess.run([*wanted, "sh", "-c", probe], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip() or f"unshare ended with {error.returncode}"
    except OSError as error:
        return str(error)
    return ""


def _in_a_thread(act: Callable[[], _Result]) -> _Result:
    # A thread may change its own network; it ends, so that nothing else is done in it.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(act).result()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
