"""Takes from the head what mends a run: nothing is handed out again, nothing declared again.

Imported by `slow_world` in a process whose environment asks for it; the product has no such switch.
"""

from __future__ import annotations

from typing import Any

from fleet.head.ledger import Ledger
from fleet.head.redis_pool import RedisPool


def _nothing(*_: Any, **__: Any) -> list[Any]:
    return []


Ledger.reissues = _nothing  # type: ignore[method-assign]
RedisPool._give_up_the_overdue = _nothing  # type: ignore[assignment, method-assign]
RedisPool._declare_again = _nothing  # type: ignore[assignment, method-assign]
