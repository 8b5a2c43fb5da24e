"""Several runs on one Redis: who moves to which, so that all have about as many workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fleet.machine.worker_broker import LiveRun

_TURN_S = 8.0


def fairer_run(
    worker: str, ours: LiveRun, others: Sequence[LiveRun], now_s: float
) -> LiveRun | None:
    """The run that ``worker`` should move to from ``ours``; ``None`` where it should stay.

    Everybody decides alone, from the same figures: of two runs' difference one half moves, chosen
    by an order that all agree on and that changes from time to time, since some of the crew, those
    behind a relay, cannot move one by one.

    Args:
        worker: a member of ``ours.crew``, or about to be one.
        ours: the run that it serves.
        others: live runs that it could serve.
        now_s: wall clock; a few seconds wrong does no harm.
    """
    if not others:
        return None
    crew = ours.crew | {worker}
    poorest = min(others, key=lambda run: (len(run.crew - {worker}), run.uid))
    num_movers = max(0, len(crew) - len(poorest.crew - {worker})) // 2
    turn = int(now_s // _TURN_S)
    movers = sorted(crew, key=lambda member: _lot(member, turn))[:num_movers]
    return poorest if worker in movers else None


def _lot(member: str, turn: int) -> bytes:
    return hashlib.blake2b(f"{turn} {member}".encode(), digest_size=8).digest()
