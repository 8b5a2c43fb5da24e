"""How many actors there should be, by what the cluster has now."""

from __future__ import annotations

import ray

from fleet.provision import Workers

_SETTLE_S = 3.0
_PLACEABLE_S = 120.0
_STILLBORN = 3
_LONGEST_PAUSE_S = 60.0


class Hiring:
    """Decides how many to ask for, and when to stop asking.

    Args:
        workers: a number is demand, for which Ray's autoscaler starts nodes; ``auto`` follows what
            is there, and never asks for a processor that somebody else uses: an autoscaler would
            start a node for it, which would be another to ask for.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._moved_s = self._not_before_s = -_PLACEABLE_S
        self._stillborn = 0
        self.why = ""

    @property
    def is_hopeless(self) -> bool:
        """Whether actors died before they were ready, one after the other; `why` says of what."""
        return self._stillborn >= _STILLBORN

    def wanted(self, placed: int, pending: int, aside: int, now_s: float) -> int:
        """How many more to ask for.

        Args:
            placed: actors that have said where they are; aside: those of them that do not serve.
            pending: actors that wait for a processor.
            now_s: monotonic seconds.
        """
        if now_s < self._not_before_s:
            return 0
        if self._workers != "auto":
            more = self._workers - (placed - aside) - pending
        else:
            # What is free is told late: those that have just been placed still count as free.
            if pending or now_s - self._moved_s < _SETTLE_S:
                return 0
            more = min(_all() - placed, _free())
        if more > 0:
            self._moved_s = now_s
        return max(0, more)

    def unplaceable(self, pending: int, now_s: float) -> int:
        """How many of the pending to take back: others were quicker."""
        if self._workers != "auto" or not pending or now_s - self._moved_s < _PLACEABLE_S:
            return 0
        self._moved_s = now_s
        return max(0, pending - _free())

    def placed(self, now_s: float) -> None:
        """One has been placed."""
        self._moved_s = now_s

    def succeeded(self) -> None:
        """One has become ready."""
        self._stillborn = 0

    def failed(self, why: str, now_s: float) -> None:
        """One has died before it was ready: the next are asked for ever later."""
        self.why = why
        self._stillborn += 1
        self._not_before_s = now_s + min(_LONGEST_PAUSE_S, 0.25 * 2.0**self._stillborn)


def _all() -> int:
    return _processors(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _free() -> int:
    return _processors(ray.available_resources())  # type: ignore[no-untyped-call]


def _processors(resources: dict[str, float]) -> int:
    return int(resources.get("CPU", 0.0))
