"""One sentence about what is wrong, and the phrases that such sentences are made of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec

from fleet.status.overview import Machine, Overview, Run


class Reason(msgspec.Struct, frozen=True):
    """One trouble.

    Attributes:
        kind: a word to search for; see the checks below.
        text: what is wrong and what to do, in a sentence.
        stops: whether it keeps work from being done, rather than only costing some.
        run: whose; empty where it is everybody's.
    """

    kind: str
    text: str
    stops: bool = True
    run: str = ""


def gone_since(overview: Overview, run: Run) -> str:
    """When the run's head last beat, as ``10:21:44`` on this machine's clock."""
    try:
        then = time.localtime(overview.now_s - run.silence_s)
        now = time.localtime(overview.now_s)
    except (OverflowError, OSError, ValueError):
        return "long ago"
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def hosts(machines: Iterable[Machine]) -> str:
    """Where these machines are."""
    return listed(list(dict.fromkeys(machine.host for machine in machines)))


def listed(names: Sequence[str], most: int = 3) -> str:
    """``a, b and c``; ``a, b, c and 4 more``."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
