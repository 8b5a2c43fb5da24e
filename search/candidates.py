"""From a candidate's number to its vector, the same bits wherever it is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from errors import MessageError
from search.messages import Genomes, Perturbations
from search.noise import NoiseTable


def write_candidate(
    candidates: Perturbations | Genomes,
    c: int,
    noise: NoiseTable | None,
    out: NDArray[np.float32],
) -> None:
    """Write candidate ``c`` of ``(C, D)`` into ``out``, ``(D,)`` float32, allocating no vector.

    Candidate C is theta itself. Mirrored pairs (Salimans et al. 2017, section 2.1) are
    theta +- (sigma * epsilon), rounded to float32 after the product and after the sum: two
    operations that IEEE 754 fixes to the bit, on any processor.

    Args:
        candidates: as a generation carries them.
        c: 0 to C.
        noise: the table that noise indices point into; only genomes can do without.
        out: overwritten.

    Raises:
        MessageError: the candidate does not exist, or does not fit ``out`` or the table.
    """
    theta = candidates.theta
    if out.shape != theta.shape or out.dtype != np.float32:
        raise MessageError(
            f"candidates have {len(theta)} parameters, the policy here {out.size}: "
            "run the same release and policy on the head and on every worker"
        )
    if not 0 <= c <= candidates.num_candidates:
        raise MessageError(f"candidate {c} of {candidates.num_candidates} does not exist")
    if c == candidates.num_candidates:
        np.copyto(out, theta)
    elif isinstance(candidates, Genomes):
        np.copyto(out, candidates.matrix_cd[c])
    else:
        epsilon = _epsilon(candidates, c // 2, noise)
        np.multiply(epsilon, candidates.sigma, out=out)
        (np.subtract if c % 2 else np.add)(theta, out, out=out)


def _epsilon(candidates: Perturbations, pair: int, noise: NoiseTable | None) -> NDArray[np.float32]:
    if noise is None:
        raise MessageError("perturbations came for an experiment that declared no noise table")
    try:
        return noise.row(int(candidates.noise_indices_n[pair]), len(candidates.theta))
    except IndexError as error:
        raise MessageError(f"pair {pair}: {error}") from None
