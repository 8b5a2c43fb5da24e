"""The global generators of numpy and Python, for code that draws from them behind our back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class PrivateRandomness:
    """Within `held`, the global generators are ours; outside, whoever else uses them sees nothing
    of it. What is drawn within follows from ``seed`` and from what was drawn within before.

    Args:
        seed: 0 to 2**32 - 1.
    """

    def __init__(self, seed: int) -> None:
        self._numpy = np.random.RandomState(seed).get_state()
        self._python = random.Random(seed).getstate()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have them for a while."""
        theirs = np.random.get_state(), random.getstate()
        np.random.set_state(self._numpy)
        random.setstate(self._python)
        try:
            yield
        finally:
            self._numpy, self._python = np.random.get_state(), random.getstate()
            np.random.set_state(theirs[0])
            random.setstate(theirs[1])
