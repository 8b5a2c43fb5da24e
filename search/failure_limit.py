"""When so much fails that going on would only cost."""

from __future__ import annotations

import math
from collections import deque

from errors import RunAborted
from search.open_generation import OpenGeneration

LEAST_ROLLOUTS = 10
"""That are looked at together: of one or two, a single failure would be all or half."""


class FailureLimit:
    """At most a share of what is looked at together may fail, and never all of it.

    What was told in an earlier session of the run is not looked at again.

    Args:
        max_failed_fraction: that share of training rollouts.
        in_flight: generations that are open together; they are looked at together, and with as
            many before them as make `LEAST_ROLLOUTS`.
    """

    def __init__(self, max_failed_fraction: float, in_flight: int = 1) -> None:
        self._max_failed_fraction = max_failed_fraction
        self._in_flight = in_flight
        self._told: deque[OpenGeneration] = deque()

    def passed(self, opened: OpenGeneration) -> None:
        """``opened`` is told, and counts with those that follow."""
        self._told.append(opened)
        while len(self._told) >= self._window(opened):
            self._told.popleft()

    def check(self, opened: OpenGeneration) -> None:
        """Look at ``opened`` as far as it is, with what was told before.

        Raises:
            RunAborted: too much has failed.
        """
        if not opened.num_failures:
            return
        generation, window = opened.generation, self._window(opened)
        # Of one candidate alone a search is told all the same, of several there is nothing to tell.
        is_lost = generation.num_candidates > 1 and opened.num_failures == generation.num_training
        together = [opened] if is_lost else [*self._told, opened]
        num_training = sum(one.generation.num_training for one in together)
        num_failures = sum(one.num_failures for one in together)
        allowed = self._max_failed_fraction * max(num_training, window * generation.num_training)
        is_hopeless = is_lost or (num_failures == num_training and len(together) == window)
        if num_failures > allowed or is_hopeless:
            what = "" if len(together) == 1 else f"the last {len(together)} generations up to "
            first = next(one for one in together if one.num_failures).failures[0]
            advice = " or raise max_failed_fraction" if num_failures > allowed else ""
            raise RunAborted(
                f"{num_failures} of {num_training} rollouts of {what}generation "
                f"{generation.number} failed, at most {allowed:g} may; the first: {first.error}; "
                f"mend the environment{advice}"
            )

    def _window(self, opened: OpenGeneration) -> int:
        """Generations that are looked at together, ``opened`` among them."""
        return max(self._in_flight, math.ceil(LEAST_ROLLOUTS / opened.generation.num_training))
