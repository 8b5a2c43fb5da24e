"""What tests of the loop share: settings of a small run, and a recorder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.messages import SeedRule
from search.settings import LoopSettings

UID = "ab" * 16
SETTINGS = LoopSettings(
    run_uid=UID,
    seeds=SeedRule(7),
    num_generations=12,
    num_validation=2,
    num_final=3,
    observed_fraction=0.5,
)


class KilledError(Exception):
    """The head dies here."""


class Silence:
    """A recorder that only remembers, or with which the head dies after so many generations."""

    def __init__(self, dies_after: int | None = None) -> None:
        self._dies_after = dies_after
        self.metrics: dict[int, Mapping[str, float]] = {}
        self.checkpoints: list[tuple[int, bool, bool]] = []
        self.notices: list[str] = []

    def progress(self, number: int, done: int, total: int, status: Any) -> None:
        assert done <= total

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        self.metrics[number] = metrics

    def times(self, times: object) -> None:
        if len(self.metrics) == self._dies_after:
            raise KilledError

    def checkpoint(self, number: int, arrays: Any, *, is_best: bool, is_last: bool) -> None:
        assert arrays["theta"].shape == (4,)
        self.checkpoints.append((number, is_best, is_last))

    def notice(self, line: str) -> None:
        self.notices.append(line)
