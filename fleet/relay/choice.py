"""Which run a relay serves: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from fleet.machine.fairness import fairer_run
from fleet.machine.worker_broker import HEAD_QUIET_S, LiveRun


def choose(
    runs: Sequence[LiveRun],
    serving: str | None,
    ours: Collection[str],
    *,
    name: str,
    refused: Collection[str] = (),
    now_s: float,
) -> str | None:
    """The run to serve from now on: the one we serve while its head beats, unless moving evens
    things out; else one whose head beats, and of those the one with the fewest workers.

    Args:
        runs: live ones that we may serve.
        serving: what we serve; it is kept where nothing is better, even if it is not in ``runs``.
        ours: the workers behind us; they move together.
        name: ours, which decides between equals.
        refused: runs that our workers cannot serve: only where there is no other.
        now_s: wall clock.
    """
    beating = [run for run in runs if run.silence_s < HEAD_QUIET_S and run.uid not in refused]
    mine = next((run for run in beating if run.uid == serving), None)
    if mine is not None:
        return _fairer(mine, [run for run in beating if run is not mine], ours, now_s) or serving
    if beating:
        return min(beating, key=lambda run: (run.num_workers, _lot(name, run.uid))).uid
    if serving is not None or not runs:
        return serving
    return min(runs, key=lambda run: (run.uid in refused, run.silence_s)).uid


def _fairer(
    mine: LiveRun, others: Sequence[LiveRun], ours: Collection[str], now_s: float
) -> str | None:
    if not ours:
        return None
    full = mine._replace(crew=mine.crew.union(ours))
    better = fairer_run(min(ours), full, others, now_s)
    if better is None:
        return None
    # All of us move at once, which must not turn things round.
    difference = len(full.crew) - len(better.crew.difference(ours))
    return better.uid if difference > len(ours) else None


def _lot(name: str, run_uid: str) -> bytes:
    return hashlib.blake2b(f"{name} {run_uid}".encode(), digest_size=8).digest()
