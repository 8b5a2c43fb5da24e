"""Borrowing the global generators: what is drawn within and what is drawn outside stay apart."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from nevergrad_es.private_randomness import PrivateRandomness


@pytest.fixture(autouse=True)
def _global_generators_kept() -> Iterator[None]:
    kept = np.random.get_state(), random.getstate()
    yield
    np.random.set_state(kept[0])
    random.setstate(kept[1])


def drawn() -> tuple[float, float]:
    return float(np.random.random()), random.random()


def within(randomness: PrivateRandomness) -> tuple[float, float]:
    with randomness.held():
        return drawn()


def test_what_is_drawn_within_follows_from_the_seed_and_from_what_was_drawn_within() -> None:
    first, second = PrivateRandomness(7), PrivateRandomness(7)
    expected = [within(first) for _ in range(3)]
    found = []
    for _ in range(3):
        drawn()
        np.random.seed(3)
        found.append(within(second))
    assert found == expected
    assert len({*expected}) == 3
    assert within(PrivateRandomness(8)) != expected[0]


def test_what_is_drawn_outside_knows_nothing_of_it() -> None:
    np.random.seed(1)
    random.seed(1)
    expected = [drawn() for _ in range(2)]
    np.random.seed(1)
    random.seed(1)
    found = [drawn()]
    within(PrivateRandomness(7))
    found.append(drawn())
    assert found == expected


def test_an_error_within_gives_them_back_too() -> None:
    np.random.seed(1)
    random.seed(1)
    expected = drawn()
    np.random.seed(1)
    random.seed(1)
    randomness = PrivateRandomness(7)
    with pytest.raises(KeyError), randomness.held():
        {}[drawn()]
    assert drawn() == expected
    assert within(randomness) != within(PrivateRandomness(7))  # and what was drawn stays drawn
