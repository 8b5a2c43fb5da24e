from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tracking.figures import duration_text, number_text, rate_text
from tracking.sparkline import ASCII, BLOCKS, History, sparkline

finite = st.floats(-1e300, 1e300)


@given(st.lists(finite, max_size=300), st.integers(1, 60))
def test_a_sparkline_is_never_wider_than_its_room(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(width, len(values))
    assert set(line) <= set(BLOCKS)


def test_a_sparkline_goes_from_the_lowest_to_the_highest_block() -> None:
    assert sparkline(range(8), 8) == BLOCKS
    assert sparkline(range(8), 8, ASCII) == ASCII
    assert sparkline([5.0, 5.0], 8) == BLOCKS[0] * 2
    assert sparkline([], 8) == ""


def test_a_history_of_any_length_stays_small_and_ends_with_the_newest_value() -> None:
    history = History()
    for value in range(100_000):
        history.append(float(value))
    history.append(math.nan)
    values = history.values()
    assert len(values) <= 1025
    assert values[0] == 0.0
    assert values[-1] == 99_999.0
    assert values == sorted(values)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_figures_are_bounded_in_width(value: float) -> None:
    assert len(number_text(value)) <= 10
    assert len(rate_text(abs(value) if abs(value) < 1e9 else 0.0)) <= 6


def test_figures_read_well_at_their_limits() -> None:
    texts = [rate_text(value) for value in (99.94, 99.96, 999.4, 999.6, 9_999.0, 999_400.0)]
    assert texts == ["99.9", "100", "999", "1.0k", "10.0k", "999.4k"]
    assert duration_text(59.6) == "0:01:00"
    assert duration_text(-3) == "0:00:00"
    assert number_text(-99_999.0) == "-99999.0"
