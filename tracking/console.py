"""A run as people watch it: a live panel on a terminal, one plain line a generation in a pipe.

Everything shown is what the loop said; nothing here may hurt a run, so that a terminal which goes
away only ends the showing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TextIO

import rich.console
from rich.box import ROUNDED
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tracking.console_rows import cost_row, fitness_row, fleet_row, flowing, time_row, work_row
from tracking.cost import Cost
from tracking.figures import counted, duration_text, number_text, rate_text
from tracking.sparkline import ASCII, BLOCKS, History, sparkline

MAX_PANEL_WIDTH = 120
_LABEL_WIDTH = 10
_RECENT_GENERATIONS = 20
_COST_EVERY_S = 10.0


class PoolStatus(Protocol):
    """What a pool says of itself; see ``search.protocol.PoolStatus``."""

    @property
    def num_workers(self) -> int: ...
    @property
    def num_machines(self) -> int: ...
    @property
    def reissued(self) -> int: ...
    @property
    def note(self) -> str: ...


class Console:
    """Fulfils ``search.protocol.Recorder`` for the eyes; a context manager.

    Args:
        total_generations: as configured.
        max_wall_s: the run's time limit, or ``None``.
        stream: where to show; a terminal gets the panel, anything else plain lines.
        clock: monotonic seconds.
        title: shown on the panel's edge, such as ``walk, run 12``.
        only_scored: plain lines for generations with validation episodes alone.
        cost: what the machines cost, asked every few seconds; None: nothing is paid for.
    """

    def __init__(
        self,
        total_generations: int,
        max_wall_s: float | None,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        title: str = "",
        *,
        only_scored: bool = False,
        cost: Callable[[], Cost | None] = lambda: None,
    ) -> None:
        self._total, self._max_wall_s = total_generations, max_wall_s
        self._stream, self._clock, self._title = stream, clock, title
        self._only_scored = only_scored
        self._ask_cost = cost
        self._cost: Cost | None = None
        self._cost_at_s = -_COST_EVERY_S
        self._rich = rich.console.Console(file=stream, highlight=False)
        # rich counts TERM=dumb as a terminal too, one that cannot move its cursor.
        self._is_live = self._rich.is_terminal and not self._rich.is_dumb_terminal
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._is_gone = False
        self._started_s = clock()
        self._number, self._first_number = 0, None  # type: int, int | None
        self._share_done = 0.0
        self._rollouts = (0, 0)
        self._elapsed_at = (0.0, self._started_s)
        self._ends_s: list[float] = []
        self._metrics: dict[str, float] = {}
        self._status: PoolStatus | None = None
        self._history = History()

    def __enter__(self) -> Console:
        if self._is_live:
            self._live = Live(
                get_renderable=self._panel,
                console=self._rich,
                refresh_per_second=4,
                redirect_stdout=self._stream.isatty(),
                redirect_stderr=self._stream.isatty(),
            )
            self._show(self._live.start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            self._show(live.stop)

    def progress(self, number: int, done: int, total: int, status: PoolStatus) -> None:
        """``done`` of ``total`` rollouts of generation ``number`` are in."""
        with self._lock:
            self._begin(number)
            self._rollouts = (done, total)
            self._share_done = done / total if total else 0.0
            self._status = status

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Generation ``number`` is complete."""
        with self._lock:
            self._begin(number)
            now_s = self._clock()
            self._metrics.update(metrics)
            self._elapsed_at = (metrics.get("time/elapsed_s", now_s - self._started_s), now_s)
            self._ends_s = [*self._ends_s[-_RECENT_GENERATIONS:], now_s]
            self._number = number + 1
            self._share_done, self._rollouts = 0.0, (0, 0)
            watched = metrics.get("fitness/current", metrics.get("fitness/mean"))
            if watched is not None:
                self._history.append(watched)
            line = self._line(number)
        is_said = not self._only_scored or "fitness/current" in metrics
        if not self._is_live and is_said:
            self._print(line)

    def times(self, times: object) -> None:
        """Nothing to show: the metrics say it."""

    def checkpoint(
        self, number: int, arrays: Mapping[str, Any], *, is_best: bool, is_last: bool
    ) -> None:
        """Nothing to show."""

    def notice(self, line: str) -> None:
        """Print ``line``, above the panel where there is one."""
        self._print(line)

    def _begin(self, number: int) -> None:
        if self._first_number is None:
            self._first_number = number
            self._ends_s = [self._clock()]
        self._number = number

    def _print(self, line: str) -> None:
        def write() -> None:
            if self._live is not None:
                self._rich.print(Text(line), soft_wrap=True)
            else:
                encoding = self._stream.encoding or "utf-8"
                self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
                self._stream.flush()

        self._show(write)

    def _show(self, action: Callable[[], None]) -> None:
        """A closed pipe or a vanished terminal ends the showing, not the run."""
        if self._is_gone:
            return
        try:
            action()
        except (OSError, ValueError):
            self._is_gone = True

    def _elapsed_s(self) -> float:
        elapsed_s, at_s = self._elapsed_at
        return elapsed_s + self._clock() - at_s

    def _left_s(self) -> float | None:
        """Seconds until the generations or the time limit are used up, whichever is first."""
        ends = []
        if self._max_wall_s is not None:
            ends.append(max(0.0, self._max_wall_s - self._elapsed_s()))
        if len(self._ends_s) > 1:
            generation_s = (self._ends_s[-1] - self._ends_s[0]) / (len(self._ends_s) - 1)
            # What has gone of the generation under way counts, but never past its own end.
            gone_s = min(self._clock() - self._ends_s[-1], generation_s)
            ends.append(max(0.0, (self._total - self._number) * generation_s - gone_s))
        return min(ends) if ends else None

    def _facts(self) -> dict[str, str]:
        metrics, status, left_s = self._metrics, self._status, self._left_s()
        workers = status.num_workers if status else int(metrics.get("workers/now", 0))
        machines = status.num_machines if status else int(metrics.get("workers/machines", 1))
        busy = metrics.get("workers/utilisation")
        return {
            "current": number_text(metrics.get("fitness/current")),
            "mean": number_text(metrics.get("fitness/mean")),
            "best": number_text(metrics.get("fitness/best_overall")),
            "rate": rate_text(metrics.get("rate/env_steps_per_s")),
            "workers": str(workers),
            "machines": counted(machines, "machine"),
            "is_many": "yes" if machines > 1 else "",
            "busy": "" if busy is None else f"{busy:.0%} busy",
            "failed": str(int(metrics.get("failures/failed_total", 0))),
            "reissued": str(int(metrics.get("work/reissued_total", 0))),
            "elapsed": duration_text(self._elapsed_s()),
            "left": "-" if left_s is None else duration_text(left_s),
            "is_over": "yes" if self._number >= self._total else "",
        }

    def _line(self, number: int) -> str:
        facts = self._facts()
        width = len(str(self._total))
        where = f" on {facts['machines']}" if facts["is_many"] else ""
        cost = self._paid()
        paid = f"  {cost.usd:.2f} USD" if cost is not None else ""
        return (
            f"generation {number:>{width}}/{self._total}"
            f"  current {facts['current']:>8}  mean {facts['mean']:>8}  best {facts['best']:>8}"
            f"  {facts['rate']:>5} steps/s  {facts['workers']:>2} workers{where}"
            f"  {facts['failed']} failed{paid}  {facts['left']} left"
        )

    def _paid(self) -> Cost | None:
        now_s = self._clock()
        if now_s - self._cost_at_s >= _COST_EVERY_S:
            self._cost, self._cost_at_s = self._ask_cost(), now_s
        return self._cost

    def _panel(self) -> Panel:
        with self._lock:
            facts = self._facts()
            # Two columns stay free for the ^C that a terminal echoes behind the panel: it would
            # else wrap and push the panel up by a line.
            width = min(self._rich.width - 2, MAX_PANEL_WIDTH)
            room = max(8, width - _LABEL_WIDTH - 6)
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(style="dim", no_wrap=True, width=_LABEL_WIDTH)
            grid.add_column(overflow="fold")
            grid.add_row("generation", self._progress(room))
            grid.add_row("fitness", flowing(fitness_row(facts), room))
            grid.add_row("", Text(self._curve(room), style="green"))
            grid.add_row("fleet", flowing(fleet_row(facts), room))
            grid.add_row("work", flowing(work_row(facts), room))
            grid.add_row("time", flowing(time_row(facts), room))
            cost = self._paid()
            if cost is not None:
                grid.add_row("cost", flowing(cost_row(cost), room))
            if self._status is not None and self._status.note and self._number < self._total:
                grid.add_row("waiting", Text(self._status.note, style="yellow"))
            title = Text(self._title) if self._title else None
            return Panel(grid, title=title, title_align="left", box=ROUNDED, width=width)

    def _progress(self, room: int) -> Table:
        """Where the run is, how far its generation has come as a bar, and in rollouts."""
        where = f"{min(self._number, self._total)} of {self._total}"
        done, total = self._rollouts
        counted = f"{done}/{total}" if total else ""
        row = Table.grid(padding=(0, 2, 0, 0))
        bar_width = room - len(where) - len(counted) - 4
        if bar_width < 4:
            row.add_row(where, counted)
        else:
            share_done = 1.0 if self._number >= self._total else self._share_done
            bar = ProgressBar(total=1.0, completed=share_done, width=min(bar_width, 60))
            row.add_row(Text(where, style="bold"), bar, counted)
        return row

    def _curve(self, room: int) -> str:
        blocks = BLOCKS if self._rich.encoding.startswith("utf") else ASCII
        return sparkline(self._history.values(), room, blocks)
