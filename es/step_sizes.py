"""A sigma for each parameter, learnt: longer steps where they pay, shorter ones where they harm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_CHANGE = np.float32(0.2)
"""Of a sigma in one generation, as a share of it: a few lucky candidates decide nothing."""
LEAST = np.float32(0.25)
"""Of the first sigma: steps of an optimiser that did not shrink with it would be a random walk."""


def adapted(
    sigma_d: NDArray[np.float32], log_gradient_d: NDArray[np.float32], lr: float, sigma: float
) -> NDArray[np.float32]:
    """Sigmas after a generation, ``(D,)`` float32.

    Schaul, Glasmachers and Schmidhuber 2011, "High dimensions and heavy tails for natural evolution
    strategies" (SNES), has sigma * exp(lr / 2 * h); here its first order, which IEEE 754 fixes to
    the bit on any processor,

        sigma * (1 + lr / 2 * h),    no factor below 0.8 or above 1.2

    and no sigma below a quarter of the first.

    Args:
        sigma_d: ``(D,)`` float32.
        log_gradient_d: ``(D,)`` float32, h of `es.gradient.estimate_log_sigma_gradient`.
        lr: SNES' own rule for it is (3 + ln D) / (5 sqrt(D)); h has the same scale here.
        sigma: the first, of all parameters.
    """
    factor_d = 1 + np.clip(log_gradient_d * np.float32(lr / 2), -MOST_CHANGE, MOST_CHANGE)
    new_d: NDArray[np.float32] = np.maximum(sigma_d * factor_d, LEAST * np.float32(sigma))
    return new_d
