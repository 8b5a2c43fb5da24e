"""What a machine of a cluster of this machine needs of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from cluster.local.folders import ClusterFolder
from cluster.local.processes import MACHINE_VARIABLE, end
from cluster.machine.platform import MachineSettings, Notice

NOTICE = "notice"
"""File in a machine's ``work_dir`` that has it believe it will be taken away: its text is why."""

_PATIENCE_S = 15.0


class LocalPlatform:
    """See `cluster.machine.platform.Platform`. Nothing here costs anything."""

    def __init__(self, settings: MachineSettings) -> None:
        self._settings = settings
        self._cluster = ClusterFolder.of_store(settings.store)
        self._machine = self._cluster.machine(settings.name)
        self.store = self._cluster.store

    def name(self) -> str:
        """See `Platform.name`."""
        return self._settings.name

    def address(self) -> str:
        """See `Platform.address`: they are all here."""
        return "127.0.0.1"

    def secret(self, name: str) -> str:
        """See `Platform.secret`."""
        return self._cluster.secret(name)

    def notice(self) -> Notice | None:
        """See `Platform.notice`. Nobody takes this machine away; a file can say so, for trying."""
        try:
            text = (Path(self._settings.work_dir) / NOTICE).read_text().strip()
        except OSError:
            return None
        return Notice("interruption", text)

    def usd_so_far(self) -> float | None:
        """See `Platform.usd_so_far`."""
        return None

    def usd_per_hour(self) -> float:
        """See `Platform.usd_per_hour`."""
        return 0.0

    def end_workers(self) -> None:
        """See `Platform.end_workers`."""
        self._cluster.wanted = 0
        workers = [machine for machine in self._cluster.machines() if machine.role == "worker"]
        end({machine.path: machine.leader for machine in workers}, _PATIENCE_S)

    def end_machine(self, why: str) -> None:
        """See `Platform.end_machine`. What asks, if it is of this machine, gets SIGTERM at last."""
        end({self._machine.path: self._machine.leader}, _PATIENCE_S)
        if os.environ.get(MACHINE_VARIABLE) == str(self._machine.path):
            signal.raise_signal(signal.SIGTERM)
