"""One theta_sha256, however many workers, whatever overlap; machines: `test_machines_apart`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from chaos_head import SLOW, Head, reference
from conditions import IS_FULL
from own_processes import Mark

RUN = (*SLOW, "num_generations=4")
SAME = ("theta_sha256", "rollouts", "env_steps", "failed_rollouts", "fitness_current")
COUNTS = [(1, 0), (8, 1), (2, 0), (2, 1), (1, 1), (8, 0)]
BRISK = "env_options={'pace': 0.3}"


@pytest.fixture
def mark() -> Iterator[Mark]:
    """Fails whoever leaves something running."""
    mark = Mark()
    yield mark
    left = mark.left_running()
    mark.end_all()
    assert not left


Wanted = Callable[[int], dict[str, Any]]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    """What the run comes to in one process, by its overlap."""
    folder = tmp_path_factory.mktemp("wanted")

    @cache
    def wanted(overlap: int) -> dict[str, Any]:
        return reference(folder / f"{overlap}", Mark(), *RUN, f"overlap={overlap}")

    return wanted


def run_of(folder: Path, mark: Mark, *words: str) -> dict[str, Any]:
    """The result of the same run elsewhere, as far as it has to be the same."""
    head = Head(folder, mark, *RUN, BRISK, *words)
    head.start()
    try:
        result = head.result()
    finally:
        head.end()
    assert result["host_failures"] == 0
    return {name: result[name] for name in SAME}


def same_of(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in SAME}


def test_an_overlap_is_another_search_than_none(wanted: Wanted) -> None:
    """Else the tests below would show nothing."""
    assert wanted(0)["theta_sha256"] != wanted(1)["theta_sha256"]


@pytest.mark.parametrize(("workers", "overlap"), COUNTS if IS_FULL else COUNTS[:2])
def test_the_number_of_workers_changes_no_bit_whatever_the_overlap(
    tmp_path: Path, mark: Mark, wanted: Wanted, workers: int, overlap: int
) -> None:
    words = (f"workers={workers}", f"overlap={overlap}")
    assert run_of(tmp_path, mark, *words) == same_of(wanted(overlap))
