"""One set of OpenBLAS kernels for OpenSim on every processor that has them.

OpenSim's wheel brings an OpenBLAS 0.3.15 of its own, with which Simbody solves constraints. Left to
itself it takes the kernels made for the processor that it finds, and the oldest it has where that
processor is newer than itself. They round differently, and walking is chaotic: one gait of 10 s was
worth 199.99 by Haswell's and Zen's kernels, 196.13 by Prescott's and 179.70 by SkylakeX's.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

VARIABLE = "OPENBLAS_CORETYPE"
"""By which OpenBLAS is told, read when it is loaded. Who sets it has what it says."""


def opensim_kernels() -> str:
    """The kernels that OpenSim computes with here, by OpenBLAS's name for them.

    Haswell's run on Intel's Core and Xeon since 2013 and AMD's since 2015, Prescott's on every x86;
    other kinds of processors are named as the platform names them and left alone.
    """
    return os.environ.get(VARIABLE) or _ours() or platform.machine()


@contextmanager
def pinned_kernels() -> Iterator[None]:
    """An OpenBLAS that is loaded in here takes `opensim_kernels`; those loaded later, and child
    processes, are not told anything.
    """
    ours = _ours()
    if os.environ.get(VARIABLE) or ours is None:
        yield
        return
    os.environ[VARIABLE] = ours
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)  # another thread may have been in here too


def _ours() -> str | None:
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    simd = np.show_config(mode="dicts")["SIMD Extensions"]  # which leaves out what is empty
    has_avx2 = {"AVX2", "FMA3"} <= {*simd.get("baseline", ()), *simd.get("found", ())}
    return "Haswell" if has_avx2 else "Prescott"
