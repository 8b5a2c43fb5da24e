"""What an honest worker could have answered: anything else would be believed with bad results.

A record that decodes may still hold moments that overflow when merged, or a reward's term that is
named after a terminal's command. An honest worker sends none of these.
"""

from __future__ import annotations

import msgspec
import numpy as np

from policy.statistics import ObservationStatistics
from search.messages import Generation, RecordBatch, RolloutRecord
from search.seeds import is_observed

MAX_STEPS = 10**9
MAX_TERMS = 64
MAX_TERM_CHARS = 100
_LARGEST_MEAN = 1e100
_LARGEST_M2 = 1e200


def plausible(batch: RecordBatch, generation: Generation) -> RecordBatch:
    """``batch`` without the records that nobody can have for ``generation``, and without terms
    that could not be shown; itself where all is well.
    """
    for record in batch.records:
        if record.statistics is not None or record.terms or record.length > MAX_STEPS:
            break
    else:
        return batch
    kept = tuple(_shown(record) for record in batch.records if _is_possible(record, generation))
    return msgspec.structs.replace(batch, records=kept)


def _is_possible(record: RolloutRecord, generation: Generation) -> bool:
    if record.length > MAX_STEPS:
        return False
    if record.statistics is None:
        return True
    return (
        generation.statistics is not None
        and is_observed(generation, record.rollout)
        and _is_mergeable(record.statistics, len(generation.statistics.mean_bytes))
    )


def _is_mergeable(statistics: ObservationStatistics, num_bytes: int) -> bool:
    return (
        len(statistics.mean_bytes) == num_bytes
        and statistics.count <= MAX_STEPS
        and bool((np.abs(statistics.mean_o) < _LARGEST_MEAN).all())
        and bool((statistics.m2_o < _LARGEST_M2).all())
    )


def _shown(record: RolloutRecord) -> RolloutRecord:
    if len(record.terms) <= MAX_TERMS and all(
        len(name) <= MAX_TERM_CHARS and name.isprintable() for name in record.terms
    ):
        return record
    return msgspec.structs.replace(record, terms={})
