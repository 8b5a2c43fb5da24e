"""The picture on one screen: as many lines as there is room for, the troubled first.

Every line is cut to the width, so that their number is known and nothing ever scrolls. Workers
have a line each where all fit; else their machine has one for all of them, and where not even
machines fit, those that are well are counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from fleet.figures import count_text, plural
from fleet.run_report import RunReport
from fleet.status.machine_table import machine_table
from fleet.status.overview import Overview, Run
from fleet.status.reason import Reason, gone_since
from fleet.status.relay_table import relay_table, relay_table_height, short_relay_table
from fleet.status.text_layout import LABEL_WIDTH, bar, ends, fitted, flowing, labelled

_MAX_WIDTH = 160
_LEAST_MACHINE_LINES = 4
_ASCII = str.maketrans("━╸─·…└", "#>-|~`")


class Screen:
    """Draws pictures for one terminal.

    Args:
        console: whose size and encoding count.
        url: of the Redis, without a password.
    """

    def __init__(self, console: Console, url: str) -> None:
        self._console = console
        self._url = url

    def draw(
        self, overview: Overview, why: Sequence[Reason], link: Text | None = None, spare: int = 0
    ) -> Group:
        """Lines for the whole terminal but ``spare`` of them.

        Args:
            link: what there is to say of the connection to Redis.
        """
        width = min(self._console.width, _MAX_WIDTH)
        height = max(8, self._console.height - spare)
        title = [self._title(overview, width)]
        if link is not None:
            title += link.wrap(self._console, width)
        runs = _runs(overview, width, max(4, height // 3))
        troubles = self._why(why, width, max(4, height // 3))
        room = height - len(title) - len(runs) - len(troubles)
        relays = short_relay_table(overview, width)
        if relay_table_height(overview) <= room - _LEAST_MACHINE_LINES:
            relays = relay_table(overview, width)
        machines = machine_table(overview, width, max(2, room - len(relays)))
        sections = [lines for lines in (title, runs, troubles, machines, relays) if lines]
        is_airy = sum(map(len, sections)) + len(sections) - 1 <= height
        lines = [line for s in sections for line in ([Text()] if is_airy else []) + s]
        lines = lines[1:] if is_airy else lines[:height]
        return Group(*(self._finished(line, width) for line in lines))

    def _title(self, overview: Overview, width: int) -> Text:
        clock = time.strftime("%H:%M:%S", time.localtime(overview.now_s))
        whose = "Relay's Redis " if overview.is_relays else "Redis "
        left = Text.assemble((whose, "bold"), fitted(self._url, max(8, width - 25)))
        return ends(left, Text(clock, "dim"), width)

    def _why(self, why: Sequence[Reason], width: int, room: int) -> list[Text]:
        """Each reason whole, for as long as there is room."""
        lines: list[Text] = []
        for count, reason in enumerate(why):
            label, style = ("stopped", "bold red") if reason.stops else ("trouble", "yellow")
            wrapped = Text(reason.text).wrap(self._console, max(20, width - LABEL_WIDTH))
            if lines and len(lines) + len(wrapped) > room:
                more = plural(len(why) - count, "more trouble")
                return [*lines, labelled("", Text(f"and {more}; `status | cat` names all", "dim"))]
            lines += [labelled("" if i else label, line, style) for i, line in enumerate(wrapped)]
        return lines

    def _finished(self, line: Text, width: int) -> Text:
        line.no_wrap = True
        line.truncate(width, overflow="crop")
        if not self._console.encoding.lower().startswith("utf"):
            line.plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode()
        return line


def _runs(overview: Overview, width: int, room: int) -> list[Text]:
    """Three lines a run; one where there are many runs, and a count of those without room."""
    lines: list[Text] = []
    is_brief = 4 * len(overview.runs) > room
    for count, run in enumerate(overview.runs):
        if is_brief and count >= room - 1:
            lines.append(Text(f"and {plural(len(overview.runs) - count, 'more run')}", "dim"))
            break
        lines += [_run_title(overview, run, width, is_brief)]
        if not is_brief:
            lines += _run_details(run, width)
    if overview.num_old_runs:
        old = plural(overview.num_old_runs, "older run")
        lines.append(Text(f"{old} whose head went long ago; `head.py flush` clears them", "dim"))
    return lines


def _run_title(overview: Overview, run: Run, width: int, is_brief: bool) -> Text:
    report = run.report
    where = f" on {run.host}:{run.pid}" if run.host else ""
    head = Text(f"head at work{where}", "green")
    if not run.is_at_work:
        head = Text(f"head{where} gone since {gone_since(overview, run)}", "red")
    title = Text.assemble(("run ", "bold"), (run.name, "bold"), "  ", run.env)
    if is_brief and report is not None:
        title.append(f"  generation {report.generation}  {report.done}/{report.total}")
    head.truncate(max(12, width - 2 - min(cell_len(title.plain), width // 2)), overflow="ellipsis")
    return ends(title, head, width)


def _run_details(run: Run, width: int) -> list[Text]:
    """How far it is, what waits, and what has happened so far."""
    report = run.report
    waiting = f"{run.tasks} tasks, {run.reissues} reissues"
    if len(run.queues) > 1:
        each = ", ".join(f"{q.number}: {q.tasks + q.reissues}" for q in run.queues[:8])
        waiting += f" ({each})"
    batches = "batch" if run.records == 1 else "batches"
    asking = f"{plural(run.crew, 'worker')} ask" if run.crew != 1 else "1 worker asks"
    lines = flowing("  queues", [waiting, f"{run.records} {batches} unread", asking], width)
    if report is None:
        unknown = Text("  how far it is, only the head's own Redis knows", "dim")
        return [unknown, *lines]
    rate = f"{count_text(run.done_per_s)} rollouts/s"
    where, counted = f"  generation {report.generation} ", f" {report.done}/{report.total}  {rate}"
    room = width - cell_len(where) - cell_len(counted)
    progress = Text.assemble((where, "bold"), bar(report.done, report.total, room), counted)
    return [progress, *lines, *flowing("  so far", _so_far(report), width)]


def _so_far(report: RunReport) -> list[str | Text]:
    parts: list[str | Text] = [
        f"{count_text(report.rollouts)} rollouts, {count_text(report.env_steps)} steps",
        Text(f"{count_text(report.failed)} failed", "red" if report.failed else ""),
        f"{count_text(report.reissued)} reissued",
        f"{count_text(report.lost)} lost",
    ]
    if report.disagreed:
        parts.append(Text(f"{count_text(report.disagreed)} disagreed", "red"))
    for count, what in (
        (report.audited, "audited"),
        (report.unaudited, "unaudited"),
        (report.duplicates, "twice"),
        (report.refused, "refused"),
    ):
        parts += [f"{count_text(count)} {what}"] if count else []
    return parts
