"""When so much fails that going on would only cost."""

from __future__ import annotations

from collections import deque

from errors import RunAborted
from search.open_generation import OpenGeneration


class FailureLimit:
    """At most a share of what is looked at together may fail, and never all of it.

    Args:
        max_failed_fraction: that share of training rollouts.
        window: generations looked at together: 1, or more where each is of few rollouts.
    """

    def __init__(self, max_failed_fraction: float, window: int = 1) -> None:
        self._max_failed_fraction = max_failed_fraction
        self._window = window
        self._told: deque[OpenGeneration] = deque(maxlen=window - 1)

    def passed(self, opened: OpenGeneration) -> None:
        """``opened`` is told, and counts with those that follow."""
        self._told.append(opened)

    def check(self, opened: OpenGeneration) -> None:
        """Look at ``opened`` as far as it is, with what was told before.

        Raises:
            RunAborted: too much has failed.
        """
        if not opened.num_failures or len(self._told) < self._window - 1:
            return
        together = [*self._told, opened]
        num_training = sum(one.generation.num_training for one in together)
        num_failures = sum(one.num_failures for one in together)
        allowed = self._max_failed_fraction * num_training
        if num_failures > allowed or num_failures == num_training:
            number = opened.generation.number
            what = "" if self._window == 1 else f"the last {self._window} generations up to "
            first = next(one for one in together if one.num_failures).failures[0]
            raise RunAborted(
                f"{num_failures} of {num_training} rollouts of {what}generation {number} failed, "
                f"at most {allowed:g} may; the first: {first.error}; mend the environment or raise "
                "max_failed_fraction"
            )
