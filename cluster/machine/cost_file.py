"""``cost.json`` in a run's directory: what the machines under the run cost, for whoever shows it.

`tracking.cost` reads it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE_NAME = "cost.json"


class Cost(msgspec.Struct, frozen=True, kw_only=True):
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


def write_cost(directory: Path, cost: Cost) -> None:
    """Keep ``cost`` in a run's ``directory``, all or nothing. Raises `OSError`."""
    aside = directory / f".{FILE_NAME}.new"
    aside.write_bytes(msgspec.json.encode(cost))
    aside.replace(directory / FILE_NAME)
