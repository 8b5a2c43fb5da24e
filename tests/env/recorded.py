"""Comparison with an episode that was recorded on another machine."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

FIRST_STEPS, LAST_STEP = 5, 14


class Recording:
    """Holds the steps of an episode to those that were recorded.

    The goldens were recorded with OpenBLAS's Haswell kernels, by which Simbody solves the
    constraints of locked coordinates, and which `env.musculoskeletal.kernels` takes wherever the
    CPU can. Where the first step comes out with the same bits, all others must. An older CPU's
    kernels round otherwise; between those of Haswell, SkylakeX, Sandybridge and Prescott the five
    recorded episodes differed by at most 1e-8 of a number, or of 1 where it is smaller, within 5
    steps and 2e-7 within 14; as much as 1 within 30, as a body with random actions is chaotic. So
    there the first 14 are compared. (To begin each step with fresh derivatives, a small change to
    the order of things, makes 2e-4 at the second.)
    """

    def __init__(self) -> None:
        self.is_to_the_bit = False

    def check(self, step: int, values: NDArray[np.float64], recorded: NDArray[np.float64]) -> None:
        """Compare the numbers of a step; 1 is the first after the reset."""
        if step == 1:
            self.is_to_the_bit = bool((values == recorded).all())
        if self.is_to_the_bit:
            assert (values == recorded).all()
        elif step <= LAST_STEP:
            close = 1e-7 if step <= FIRST_STEPS else 1e-5
            assert values == pytest.approx(recorded, rel=close, abs=close)
