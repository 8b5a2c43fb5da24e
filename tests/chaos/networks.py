"""A network for each machine, where this system lets us make them: Linux, root, iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple

LOOPBACK = "127.0.0.1"


class Place(NamedTuple):
    """Where a machine is: its address, and what to put before a command to run it there."""

    address: str
    prefix: tuple[str, ...]


class Networks:
    """``num_machines`` network namespaces on one bridge, and this one; a context manager.

    Where none can be made, everybody is at home on the loopback.
    """

    def __init__(self, num_machines: int) -> None:
        self._num_machines = num_machines
        self._name = f"es{os.getpid() % 10**7}"
        self._net = f"10.231.{os.getpid() % 250}"
        self._stack = ExitStack()
        self.head_address = LOOPBACK
        self.places = [Place(LOOPBACK, ())] * num_machines

    @property
    def are_apart(self) -> bool:
        """Whether each machine has a network of its own."""
        return self.head_address != LOOPBACK

    def __enter__(self) -> Networks:
        with ExitStack() as undo:
            try:
                places = self._lay(undo)
            except (OSError, subprocess.CalledProcessError):
                return self
            self._stack = undo.pop_all()
            self.head_address, self.places = f"{self._net}.1", places
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _lay(self, undo: ExitStack) -> list[Place]:
        bridge = self._name
        _ip("link", "add", bridge, "type", "bridge")
        undo.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{self._net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        places = []
        for number in range(self._num_machines):
            space, outer, inner = f"{bridge}-{number}", f"{bridge}o{number}", f"{bridge}i{number}"
            _ip("netns", "add", space)
            undo.callback(_ip, "netns", "del", space)
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
            _ip("link", "set", outer, "master", bridge, "up")
            address = f"{self._net}.{number + 2}"
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", inner)
            _ip("-n", space, "link", "set", inner, "up")
            _ip("-n", space, "link", "set", "lo", "up")
            places.append(Place(address, (_command(), "netns", "exec", space)))
        return places


def _command() -> str:
    # Debian keeps it where only root's PATH looks.
    return shutil.which("ip") or "/usr/sbin/ip"


def _ip(*words: str) -> None:
    subprocess.run([_command(), *words], check=True, capture_output=True)
