"""One recorder that tells several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Recorder(Protocol):
    """See ``search.protocol.Recorder``."""

    def progress(self, number: int, done: int, total: int, status: Any) -> None: ...
    def generation(self, number: int, metrics: Mapping[str, float]) -> None: ...
    def times(self, times: Any) -> None: ...
    def checkpoint(
        self, number: int, arrays: Mapping[str, Any], *, is_best: bool, is_last: bool
    ) -> None: ...
    def notice(self, line: str) -> None: ...


class Recorders:
    """One recorder that tells several, in order."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = tuple(recorders)

    def progress(self, number: int, done: int, total: int, status: Any) -> None:
        for recorder in self._recorders:
            recorder.progress(number, done, total, status)

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        for recorder in self._recorders:
            recorder.generation(number, metrics)

    def times(self, times: Any) -> None:
        for recorder in self._recorders:
            recorder.times(times)

    def checkpoint(
        self, number: int, arrays: Mapping[str, Any], *, is_best: bool, is_last: bool
    ) -> None:
        for recorder in self._recorders:
            recorder.checkpoint(number, arrays, is_best=is_best, is_last=is_last)

    def notice(self, line: str) -> None:
        for recorder in self._recorders:
            recorder.notice(line)
