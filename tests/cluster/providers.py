"""A platform that is no provider's: a folder, and what a test has it say."""

from __future__ import annotations

from collections.abc import Callable

from cluster.machine.platform import Notice
from cluster.store import Store


class TrialPlatform:
    """Attributes:
    ended: what was ended, in order: ``workers``, or why the machine was.
    told: the notice.
    usd: what the cluster has cost.
    on_end: called when the machine is to end.
    """

    def __init__(self, store: Store, address: str = "127.0.0.1") -> None:
        self.store = store
        self.ended: list[str] = []
        self.told: Notice | None = None
        self.usd: float | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._address = address

    def name(self) -> str:
        return "machine-7"

    def address(self) -> str:
        return self._address

    def secret(self, name: str) -> str:
        return f"{name}-of-this-test" if name.endswith("password") else ""

    def notice(self) -> Notice | None:
        return self.told

    def usd_so_far(self) -> float | None:
        return self.usd

    def usd_per_hour(self) -> float:
        return 0.5

    def end_workers(self) -> None:
        self.ended.append("workers")

    def end_machine(self, why: str) -> None:
        self.ended.append(why)
        self.on_end()
