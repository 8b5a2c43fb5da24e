"""Why nothing moves, in a sentence, from what a head knows anyway.

`fleet.reasons` says the same, and more, to people who look from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet.figures import harmless, plural
from fleet.heartbeat import Heartbeat

_ENOUGH_FAILURES = 3
_START_WORKERS = "start some with `python es/worker.py start-workers`"


def hopeless(failed: int, ok: int, first_error: str) -> str:
    """That all rollouts fail, where they do; said also while things move.

    Args:
        failed: attempts that failed.
        ok: rollouts that did not.
        first_error: what the first failed one said.
    """
    if ok or failed < _ENOUGH_FAILURES:
        return ""
    return (
        f"all {failed} attempts at rollouts have failed so far, the first with: "
        f"{harmless(first_error) or 'no word'}"
    )


def why_still(machines: Sequence[Heartbeat], code_version: str) -> str:
    """Why no answers come; empty where workers are simply busy.

    Args:
        machines: those that are heard of.
        code_version: of the head.
    """
    crews = [machine for machine in machines if machine.workers]
    troubles = [trouble for machine in machines for trouble in machine.troubles]
    if not any(machine.num_workers for machine in crews):
        if not crews:
            return f"no workers: {_START_WORKERS}"
        hosts = ", ".join(sorted({harmless(machine.host, 80) for machine in crews})[:3])
        why = f": {harmless(troubles[0])}" if troubles else ""
        return f"no worker is up on {hosts}{why}"
    others = [machine for machine in crews if machine.code_version != code_version]
    if len(others) == len(crews):
        num_workers = sum(machine.num_workers for machine in others)
        return (
            f"{plural(num_workers, 'worker')} of another version: code "
            f"{harmless(others[0].code_version, 40)}, while the head runs code {code_version}: "
            "bring both to the same release"
        )
    if any(worker.doing_s is not None for machine in crews for worker in machine.workers):
        return ""
    return harmless(troubles[0]) if troubles else ""
