"""What a run writes down while it goes, in its own directory.

::

    runs/12/
      run.json config.json metrics.json   Sacred's
      metrics.jsonl                       every metric of every generation, a line each
      timeline.jsonl                      where each generation's time went, a line each
      notices.jsonl                       what people were told
      tensorboard/                        event files
      checkpoints/                        generation_000123.npz, best.json, config.json

Recording must never hurt a run: whatever fails here becomes one notice and the run goes on.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

from search.timeline import GenerationTimes
from tracking import checkpoints, metric_log, timeline_log
from tracking.checkpoints import Best
from tracking.event_file import EventFile
from tracking.metric_log import MetricLog, Row
from tracking.observer import MetricPoints, RunDirectoryObserver, timestamp
from tracking.sacred_import import plain

MAX_SACRED_POINTS = 10_000
# A search that improves in each of its short generations would else do nothing but write.
BEST_EVERY_S = 5.0


class SacredRun(Protocol):
    """The part of a Sacred ``Run`` that a recorder needs."""

    config: Mapping[str, Any]
    observers: list[Any]

    def log_scalar(self, metric_name: str, value: float, step: int) -> None: ...

    def add_artifact(self, filename: str, name: str | None = None) -> None: ...


def sacred_stride(total_generations: int) -> int:
    """Sacred gets every so many-th generation: the least stride that keeps within
    `MAX_SACRED_POINTS` points a metric. Our own file and TensorBoard get them all.
    """
    return max(1, math.ceil(total_generations / MAX_SACRED_POINTS))


class RunRecorder:
    """Fulfils ``search.protocol.Recorder`` with files, TensorBoard and Sacred.

    Args:
        run: the Sacred run that is going on.
        directory: where it keeps its files.
        total_generations: as configured; decides the thinning and which checkpoints are regular.
        num_checkpoints: how often in the run a checkpoint is kept besides best and last.
        render_every: each so-many-th generation is kept too, since it is filmed.
        notice: told, once for each kind of trouble, that something could not be recorded.
        clock: monotonic seconds.
        wall_clock: Unix seconds.

    Files are opened here; one that cannot be is a notice, not an error.
    """

    def __init__(
        self,
        run: SacredRun,
        directory: Path,
        *,
        total_generations: int,
        num_checkpoints: int,
        render_every: int | None = None,
        notice: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._run = run
        self._directory = directory
        self._stride = sacred_stride(total_generations)
        self._regular_every = max(1, total_generations // max(1, num_checkpoints))
        self._num_checkpoints = num_checkpoints
        self._render_every = render_every
        self._tell = notice
        self._clock, self._wall_clock = clock, wall_clock
        self._complaints: set[str] = set()
        self._metric_log: MetricLog | None = None
        self._events: EventFile | None = None
        self._checkpoints = directory / checkpoints.FOLDER
        self._pending_best: tuple[int, Mapping[str, NDArray[Any]]] | None = None
        self._best_written_s = -math.inf
        with self._harmless("metrics.jsonl"):
            self._metric_log = MetricLog(directory / metric_log.FILE_NAME)
        with self._harmless("TensorBoard events"):
            self._events = EventFile(directory / "tensorboard", wall_clock)

    def progress(self, number: int, done: int, total: int, status: object) -> None:
        """Nothing to keep; a best checkpoint that had to wait is written when its time has come."""
        if self._pending_best and self._clock() - self._best_written_s >= BEST_EVERY_S:
            self._write_pending_best()

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Write all metrics of generation ``number`` down."""
        with self._harmless("metrics.jsonl"):
            if self._metric_log is not None:
                self._metric_log.append(Row(number, self._wall_clock(), metrics))
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        with self._harmless("TensorBoard events"):
            if self._events is not None:
                self._events.scalars(number, finite)
        if number % self._stride == 0:
            with self._harmless("Sacred metrics"):
                for name, value in finite.items():
                    self._run.log_scalar(name, float(value), number)

    def times(self, times: GenerationTimes) -> None:
        """Write down where a generation's time went."""
        with self._harmless("timeline.jsonl"):
            timeline_log.append(self._directory / timeline_log.FILE_NAME, times)

    def checkpoint(
        self, number: int, arrays: Mapping[str, NDArray[Any]], *, is_best: bool, is_last: bool
    ) -> None:
        """Keep ``arrays``: for good if the generation is a regular one or the last, until there
        is a better one if it is only the best; the latter at most every `BEST_EVERY_S`.
        """
        if not is_best or is_last or self._is_regular(number):
            path = self._write_checkpoint(number, arrays)
            if path is not None:
                self._register(path)
            if is_best or self._best_on_disk().number == number:
                self._pending_best = None
                self._note_best(Best(number, disposable=False))
        else:
            self._pending_best = (number, dict(arrays))
            if self._clock() - self._best_written_s >= BEST_EVERY_S:
                self._write_pending_best()

    def notice(self, line: str) -> None:
        """Keep a line that people were shown."""
        with self._harmless("notices.jsonl"), (self._directory / "notices.jsonl").open("a") as file:
            file.write(json.dumps({"time": round(self._wall_clock(), 3), "line": line}) + "\n")

    def rewind(self, metrics_by_generation: Mapping[int, Mapping[str, float]]) -> None:
        """On resume: make every file say what the journal says, before going on.

        A head killed by SIGKILL leaves a row too many (of a generation that is done again) or one
        too few (told, not yet recorded). Rows keep the time at which they were first written.
        """
        path = self._directory / metric_log.FILE_NAME
        numbers = sorted(metrics_by_generation)
        with self._harmless("metrics.jsonl"):
            times_s = {row.number: row.time_s for row in metric_log.read(path)}
            now_s = self._wall_clock()
            rows = [
                Row(number, times_s.get(number, now_s), metrics_by_generation[number])
                for number in numbers
            ]
            metric_log.rewrite(path, rows)
            if self._metric_log is not None:
                self._metric_log.close()
            self._metric_log = MetricLog(path)
            self._rewind_events(rows, times_s)
            self._rewind_sacred(rows)
        with self._harmless("timeline.jsonl"):
            timeline_log.keep_only(self._directory / timeline_log.FILE_NAME, metrics_by_generation)
        with self._harmless("checkpoints"):
            # What the run ended with before is no generation of it.
            for number in checkpoints.numbers(self._checkpoints):
                if number > len(numbers):
                    self._drop_checkpoint(number)

    def close(self) -> None:
        """Write what waits, and let go of the files. May be called twice."""
        self._write_pending_best()
        path = self._checkpoints / checkpoints.file_name(self._best_on_disk().number)
        if path.exists():
            self._register(path)
        for file in (self._metric_log, self._events):
            if file is not None:
                with self._harmless("the end of the run"):
                    file.close()
        self._metric_log = self._events = None

    def __enter__(self) -> RunRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _harmless(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if what not in self._complaints:
                self._complaints.add(what)
                reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                self._tell(f"{what} of this run cannot be written ({reason}); the run goes on")

    def _is_regular(self, number: int) -> bool:
        if self._render_every and number % self._render_every == 0:
            return True
        return self._num_checkpoints > 0 and number % self._regular_every == 0

    def _write_checkpoint(self, number: int, arrays: Mapping[str, Any]) -> Path | None:
        path = None
        with self._harmless("checkpoints"):
            path = checkpoints.write(self._checkpoints, number, arrays)
            config = self._checkpoints / "config.json"
            if not config.exists():
                config.write_text(json.dumps(plain(self._run.config), indent=2, sort_keys=True))
        return path

    def _write_pending_best(self) -> None:
        if self._pending_best is None:
            return
        number, arrays = self._pending_best
        self._pending_best = None
        self._best_written_s = self._clock()
        if self._write_checkpoint(number, arrays) is not None:
            self._note_best(Best(number, disposable=True))

    def _note_best(self, best: Best) -> None:
        """Point at ``best``, and drop the one before if it was kept for nothing else."""
        with self._harmless("checkpoints"):
            before = self._best_on_disk()
            checkpoints.write_best(self._checkpoints, best)
            if before.disposable and before.number != best.number:
                self._drop_checkpoint(before.number)

    def _drop_checkpoint(self, number: int) -> None:
        path = self._checkpoints / checkpoints.file_name(number)
        path.unlink(missing_ok=True)
        for observer in self._run_observers():
            observer.forget_artifact(path)

    def _best_on_disk(self) -> Best:
        return checkpoints.read_best(self._checkpoints) or Best(-1, disposable=False)

    def _register(self, path: Path) -> None:
        with self._harmless("Sacred artifacts"):
            self._run.add_artifact(str(path), name=path.name)

    def _run_observers(self) -> list[RunDirectoryObserver]:
        return [o for o in self._run.observers if isinstance(o, RunDirectoryObserver)]

    def _rewind_events(self, rows: list[Row], times_s: Mapping[int, float]) -> None:
        """TensorBoard drops what it knows from the first row that may be wrong on, and is told
        again: a row that the log had not yet, or its last, which the events may have missed.
        """
        if self._events is None:
            return
        last = max(times_s, default=-1)
        again = [row for row in rows if row.number not in times_s or row.number >= last]
        first = min((row.number for row in again), default=rows[-1].number + 1 if rows else 0)
        self._events.forget_from(first)
        for row in rows:
            if row.number >= first:
                finite = {n: v for n, v in row.metrics.items() if math.isfinite(v)}
                self._events.scalars(row.number, finite)

    def _rewind_sacred(self, rows: list[Row]) -> None:
        metrics: dict[str, MetricPoints] = {}
        for row in rows:
            if row.number % self._stride:
                continue
            for name, value in row.metrics.items():
                if math.isfinite(value):
                    points = metrics.setdefault(name, {"steps": [], "values": [], "timestamps": []})
                    points["steps"].append(row.number)
                    points["values"].append(value)
                    points["timestamps"].append(timestamp(row.time_s))
        for observer in self._run_observers():
            observer.replace_metrics(metrics)
