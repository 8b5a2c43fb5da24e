"""Moments of observations."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from policy.statistics import MIN_STANDARD_DEVIATION, ObservationStatistics

ROWS = arrays(
    np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-1e3, 1e3, width=32)
)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_merging_parts_gives_the_moments_of_the_whole(parts):
    merged = ObservationStatistics.empty(3)
    for part in parts:
        merged = merged.merged(ObservationStatistics.observed(part))
    rows = np.concatenate(parts)
    assert merged.count == len(rows)
    np.testing.assert_allclose(merged.mean_o, rows.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(merged.m2_o, rows.var(axis=0) * len(rows), atol=1e-6)


@given(ROWS)
def test_nothing_merged_changes_no_bit(rows):
    seen = ObservationStatistics.observed(rows)
    empty = ObservationStatistics.empty(3)
    assert seen.merged(empty) == empty.merged(seen) == seen


@given(ROWS)
def test_a_statistic_travels_to_the_bit(rows):
    seen = ObservationStatistics.observed(rows)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(seen), type=ObservationStatistics)
    assert again == seen


def test_the_standard_deviation_is_never_too_small_to_divide_by():
    assert ObservationStatistics.empty(2).standard_deviation_o().tolist() == [1.0, 1.0]
    one = ObservationStatistics.observed(np.array([[5.0, 6.0]]))
    assert one.standard_deviation_o().tolist() == [1.0, 1.0]
    three = ObservationStatistics.observed(np.array([[5.0, 0.0], [5.0, 3.0], [5.0, 6.0]]))
    assert three.standard_deviation_o() == pytest.approx([MIN_STANDARD_DEVIATION, 6**0.5])


@pytest.mark.parametrize(
    ("count", "mean", "m2"),
    [
        (-1, [0.0], [0.0]),
        (1, [0.0, 0.0], [0.0]),
        (1, [np.nan], [0.0]),
        (1, [0.0], [np.inf]),
        (1, [0.0], [-1.0]),
    ],
)
def test_a_statistic_that_cannot_be_is_not_decoded(count, mean, m2):
    fields = {
        "count": count,
        "mean_bytes": np.array(mean).tobytes(),
        "m2_bytes": np.array(m2).tobytes(),
    }
    data = msgspec.msgpack.encode(fields)
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=ObservationStatistics)
    data = msgspec.msgpack.encode({**fields, "count": 1, "mean_bytes": b"1234567", "m2_bytes": b""})
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=ObservationStatistics)
