"""``cost.json`` in a run's directory: what the cluster under it costs. Its head writes it there
every few seconds; runs on machines that nobody is paid for have none.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE_NAME = "cost.json"


class Cost(msgspec.Struct, frozen=True):
    """What a cluster costs, estimated.

    Attributes:
        time_s: when that was counted, seconds since 1970.
        usd: since it was launched.
        usd_per_hour: with the machines of that moment.
        budget_usd: at which it ends; None: it has no budget.
    """

    time_s: float
    usd: float
    usd_per_hour: float
    budget_usd: float | None = None

    @property
    def is_used_up(self) -> bool:
        """Whether the budget is spent, if there is one."""
        return self.budget_usd is not None and self.usd >= self.budget_usd


def write_cost(directory: Path, cost: Cost) -> None:
    """Keep ``cost`` in a run's ``directory``, all or nothing. Raises `OSError`."""
    aside = directory / f".{FILE_NAME}.new"
    aside.write_bytes(msgspec.json.encode(cost))
    aside.replace(directory / FILE_NAME)


def read_cost(directory: Path) -> Cost | None:
    """What the run in ``directory`` has cost; None: nothing, or nobody has counted it."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Cost)
    except (OSError, msgspec.MsgspecError):
        return None
