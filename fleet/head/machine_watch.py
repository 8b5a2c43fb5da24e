"""The machines that a head hears of: how many workers, what they complain of, why they are idle.

`fleet.status.reasons` says the same, and more, to people who look from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

from fleet import heartbeat
from fleet.connection import Client
from fleet.figures import harmless, plural
from fleet.heartbeat import Heartbeat

_MAX_TROUBLES = 1000


class MachineWatch:
    """Listens to heartbeats.

    Args:
        client: of the Redis they are sent to.
        notice: where a machine's trouble goes, once.
    """

    def __init__(self, client: Client, notice: Callable[[str], None]) -> None:
        self._client = client
        self._notice = notice
        self._troubles: set[str] = set()
        self.heard: list[Heartbeat] = []

    @property
    def num_workers(self) -> int:
        """Workers that have a process."""
        return sum(machine.num_workers for machine in self.heard)

    @property
    def num_machines(self) -> int:
        """Hosts that have such a worker."""
        return len({machine.host for machine in self.heard if machine.num_workers})

    def listen(self) -> None:
        """Hear who is there now."""
        self.heard = heartbeat.fresh(self._client)
        for host, trouble in self._complaints():
            if trouble not in self._troubles and len(self._troubles) < _MAX_TROUBLES:
                self._troubles.add(trouble)
                self._notice(f"{host}: {trouble}")

    def why_still(self, code_version: str) -> str:
        """Why no answers come, in a sentence; empty where workers are simply busy.

        Args:
            code_version: of the head.
        """
        crews = [machine for machine in self.heard if machine.workers]
        complaints = self._complaints()
        if not crews:
            return "no workers: start some with `python es/worker.py start-workers`"
        if not self.num_workers:
            hosts = ", ".join(sorted({harmless(machine.host, 80) for machine in crews})[:3])
            why = f": {complaints[0][1]}" if complaints else ""
            return f"no worker is up on {hosts}{why}"
        others = [machine for machine in crews if machine.code_version != code_version]
        if len(others) == len(crews):
            return (
                f"{plural(self.num_workers, 'worker')} of another version: code "
                f"{harmless(others[0].code_version, 40)}, while the head runs code "
                f"{code_version}: bring both to the same release"
            )
        if any(worker.doing_s is not None for machine in crews for worker in machine.workers):
            return ""
        return next((f"{host}: {line}" for host, line in complaints), "")

    def _complaints(self) -> list[tuple[str, str]]:
        """Whose, and what."""
        return [
            (harmless(machine.host, 80), harmless(line))
            for machine in self.heard
            for line in machine.troubles
        ]
