"""The evolution-strategies estimate of the gradient, as one pass over the noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from search.arithmetic import num_threads

BLOCK = 2**17
"""Parameters summed at a time at most: sum and product of a block stay in a core's cache."""
_LEAST_BLOCK = 2**15
"""Fewer are summed before another thread would have begun."""


def estimate_gradient(
    noise_values: NDArray[np.float32],
    noise_indices_n: NDArray[np.int64],
    fitness_c: NDArray[np.float64],
    sigma: float,
    num_parameters: int,
) -> NDArray[np.float32]:
    """Estimate of the gradient of the expected (shaped) fitness at theta.

    Salimans et al. 2017, eq. in section 2 and algorithm 1, with mirrored sampling (section 2.1;
    Brockhoff et al. 2010): for pairs theta +- sigma * epsilon_i, epsilon ~ N(0, I),

        g = sum_i (F+_i - F-_i) epsilon_i / (2 N sigma)

    Rows are added in the order of ``noise_indices_n``, in float32. Each of the products and sums
    is an elementwise one that IEEE 754 fixes to the bit: neither threads, each of which has
    parameters of its own, nor BLAS kernel, alignment or block size can change the result.

    Args:
        noise_values: ``(length,)`` float32, the noise table.
        noise_indices_n: ``(N,)`` int64, where the row of each pair begins.
        fitness_c: ``(2N,)`` float64, shaped; candidates 2i and 2i+1 are the pair i.
        sigma: standard deviation of the perturbations.
        num_parameters: D.

    Returns:
        ``(D,)`` float32.
    """
    _check_pairs(noise_values, noise_indices_n, fitness_c, num_parameters)
    weight_n = (fitness_c[0::2] - fitness_c[1::2]) / (2 * len(noise_indices_n) * sigma)
    return _sum_rows(noise_values, noise_indices_n, weight_n, num_parameters, _product)


def estimate_log_sigma_gradient(
    noise_values: NDArray[np.float32],
    noise_indices_n: NDArray[np.int64],
    fitness_c: NDArray[np.float64],
    num_parameters: int,
) -> NDArray[np.float32]:
    """Estimate of the natural gradient of the expected (shaped) fitness by the logarithm of each
    parameter's sigma, up to a factor.

    Schaul et al. 2011 (SNES), with mirrored pairs, and weights that add up to zero and their
    magnitudes to one, whatever the shaping:

        h = sum_i (u+_i + u-_i) (epsilon_i^2 - 1),    u = (F - mean F) / sum |F - mean F|

    Zero where all fitness is equal. Like `estimate_gradient`, the same bits anywhere.

    Returns:
        ``(D,)`` float32.
    """
    _check_pairs(noise_values, noise_indices_n, fitness_c, num_parameters)
    if fitness_c.min() == fitness_c.max():
        return np.zeros(num_parameters, dtype=np.float32)
    # By a power of two, which rounds nothing, so that sums cannot overflow.
    scaled_c = np.ldexp(fitness_c, -np.frexp(np.abs(fitness_c).max())[1])
    deviation_c = scaled_c - math.fsum(scaled_c) / len(scaled_c)
    total = math.fsum(np.abs(deviation_c))
    weight_n = (deviation_c[0::2] + deviation_c[1::2]) / total
    return _sum_rows(noise_values, noise_indices_n, weight_n, num_parameters, _excess_of_square)


def _product(row: NDArray[np.float32], weight: np.float32, out: NDArray[np.float32]) -> None:
    np.multiply(row, weight, out=out)


def _excess_of_square(
    row: NDArray[np.float32], weight: np.float32, out: NDArray[np.float32]
) -> None:
    np.multiply(row, row, out=out)
    np.subtract(out, np.float32(1), out=out)
    np.multiply(out, weight, out=out)


def _check_pairs(
    noise_values: NDArray[np.float32],
    noise_indices_n: NDArray[np.int64],
    fitness_c: NDArray[np.float64],
    num_parameters: int,
) -> None:
    num_pairs = len(noise_indices_n)
    if fitness_c.shape != (2 * num_pairs,):
        raise ValueError(f"fitness of shape {fitness_c.shape} for {num_pairs} pairs")
    if num_pairs and not 0 <= noise_indices_n.min() <= noise_indices_n.max() <= (
        len(noise_values) - num_parameters
    ):
        raise ValueError("a noise row does not lie in the table")


def _sum_rows(
    noise_values: NDArray[np.float32],
    noise_indices_n: NDArray[np.int64],
    weight_n: NDArray[np.float64],
    num_parameters: int,
    write_term: Callable[[NDArray[np.float32], np.float32, NDArray[np.float32]], None],
) -> NDArray[np.float32]:
    """``(D,)`` float32: the terms of all rows, added in their order."""
    rows = list(zip(noise_indices_n.tolist(), weight_n.astype(np.float32), strict=True))
    total = np.zeros(num_parameters, dtype=np.float32)

    def add_block(start: int) -> None:
        part = total[start : start + block]
        term = np.empty_like(part)
        for index, weight in rows:
            first = index + start
            write_term(noise_values[first : first + len(part)], weight, term)
            np.add(part, term, out=part)

    threads = num_threads()
    block = min(BLOCK, max(_LEAST_BLOCK, -(-num_parameters // threads)))
    if num_parameters <= block:
        add_block(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(add_block, range(0, num_parameters, block)))
    return total
