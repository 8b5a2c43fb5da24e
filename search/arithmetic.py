"""One thread for every sum, and a fingerprint of how this machine rounds."""

from __future__ import annotations

import hashlib
import os
import sys

import numpy as np
from threadpoolctl import threadpool_limits

from env.musculoskeletal.kernels import opensim_kernels

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def num_threads() -> int:
    """Threads for work whose bits do not depend on their number: one for each core, and eight at
    most, as many as a machine's memory is likely to feed.
    """
    return min(8, os.cpu_count() or 1)


def use_one_thread() -> None:
    """One BLAS, OpenMP and torch thread from now on, here and in processes started from here.

    A sum that is split over threads rounds by their number, and workers are the parallelism.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    threadpool_limits(limits=1)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def fingerprint() -> str:
    """16 hex digits of what rollouts compute with: matrix-vector products, tanh, exp, and the
    kernels that OpenSim has.

    Machines that agree here gave equal rollouts to the bit; older processors' kernels differ.
    """
    uniform = np.random.Generator(np.random.Philox(20170303))
    matrix = uniform.standard_normal((67, 131))
    vector = uniform.standard_normal(131)
    hashed = hashlib.blake2b(digest_size=8)
    for kind in (np.float32, np.float64):
        product = matrix.astype(kind) @ vector.astype(kind)
        for part in (product, np.tanh(product), np.exp(-np.abs(product)), np.sin(product)):
            hashed.update(part.tobytes())
    hashed.update(opensim_kernels().encode())
    return hashed.hexdigest()
