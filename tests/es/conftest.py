"""A noise table, and one thread for torch, as the commands have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from search.noise import DEFAULT_LENGTH, NoiseTable, open_table


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoiseTable]:
    with open_table(11, DEFAULT_LENGTH, tmp_path_factory.mktemp("noise")) as table:
        yield table


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
