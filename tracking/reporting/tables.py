"""What a report says in tables: cells are text already, digits aligned by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracking.reporting.account import RunAccount
from tracking.reporting.busy_grid import lanes_of
from tracking.reporting.groups import FEW_SEEDS, Group, final_scores, value_text
from tracking.reporting.units import NONE, count, decimal, duration, moment, percent

_MOST_NOTICES = 30


class Table(NamedTuple):
    """A table of the page.

    Attributes:
        title: above it.
        head: names of the columns.
        rows: as many cells each as ``head``.
        text_columns: how many of the first columns are words; the others are figures.
        note: under it.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    note: str = ""


def digits_for(values: Iterable[float | None]) -> int:
    """Digits after the point that suit a column of ``values``: four or so that count.

    >>> digits_for([284.31, -12.0]), digits_for([0.0213]), digits_for([2e6]), digits_for([])
    (1, 5, 0, 1)
    """
    sizes = [abs(v) for v in values if v is not None and np.isfinite(v) and v]
    if not sizes:
        return 1
    least = 1 if max(sizes) < 1e5 else 0
    return int(np.clip(4 - np.ceil(np.log10(max(sizes))), least, 6))


def score_table(groups: Sequence[Group]) -> Table:
    """Final fitness of each configuration over its seeds; see `final_scores`."""
    meaning, scores = final_scores(groups)
    digits = digits_for(float(score) for score_s in scores for score in score_s)
    rows = []
    for group, score_s in zip(groups, scores, strict=True):
        quartiles = np.quantile(score_s, [0.25, 0.75]) if len(score_s) >= FEW_SEEDS else (None,) * 2
        median = np.median(score_s) if len(score_s) else None
        ends = (score_s.min(), score_s.max()) if len(score_s) > 1 else (None, None)
        figures = [decimal(value, digits) for value in (median, *quartiles, *ends)]
        rows.append([group.letter, count(len(score_s)), *figures])
    left_out = sum(len(group.runs) for group in groups) - sum(map(len, scores))
    note = f"Reward per episode, {meaning}." if meaning else "No run has a fitness yet."
    if meaning and left_out:
        note += f" {left_out} of the runs have no {meaning} and are left out."
    head = ["", "seeds", "median", "quartile 1", "quartile 3", "least", "greatest"]
    return Table("Final fitness", head, rows, note=note)


def differences_table(groups: Sequence[Group]) -> Table | None:
    """What the configurations differ in; ``None`` where there is only one."""
    if len(groups) < 2:
        return None
    names = list(groups[0].settings)
    rows = [[name, *(value_text(group.settings[name]) for group in groups)] for name in names]
    return Table("What differs", ["option", *(g.letter for g in groups)], rows, 1 + len(groups))


def runs_table(groups: Sequence[Group]) -> Table:
    """The runs one by one."""
    finals = [run.final for group in groups for run in group.runs]
    digits = digits_for(final.value for final in finals if final)
    head = ["", "run", "status", "seed", "final fitness", "episodes", "best", "generations"]
    head += ["steps", "training time", "steps/s", "busy", "failed"]
    return Table(
        "Runs",
        head,
        [_run_row(group, run, digits) for group in groups for run in group.runs],
        text_columns=3,
        note="Best: of the validations. Busy: mean share of the workers' time in rollouts.",
    )


def _run_row(group: Group, run: RunAccount, digits: int) -> list[str]:
    metrics = run.metrics
    steps, seconds = metrics["work/env_steps_total"].last, metrics["time/elapsed_s"].last
    return [
        group.letter,
        str(run.run_id),
        run.status,
        str(run.config.get("seed", NONE)),
        decimal(run.final.value, digits) if run.final else NONE,
        count(run.final.episodes) if run.final else NONE,
        decimal(metrics["fitness/current"].best, digits),
        count(metrics.num_generations),
        count(steps),
        duration(seconds),
        count(steps / seconds) if steps and seconds else NONE,
        percent(utilisation(run)),
        count(metrics["failures/failed_total"].last),
    ]


def utilisation(run: RunAccount) -> float | None:
    """Share of its workers' time that went into rollouts, over the run."""
    if run.times is not None and len(run.times.busy_p):
        busy_s, waiting_s = float(run.times.busy_p.sum()), float(run.times.waiting_p.sum())
        return busy_s / (busy_s + waiting_s) if busy_s + waiting_s > 0 else None
    busy, waiting = run.metrics["time/evaluation_s"], run.metrics["time/obtaining_s"]
    if not busy or not waiting:
        return None
    busy_s, waiting_s = float(np.nansum(busy.values)), float(np.nansum(waiting.values))
    return busy_s / (busy_s + waiting_s) if busy_s + waiting_s > 0 else None


def terms_table(run: RunAccount) -> Table | None:
    """The reward's terms at the beginning and at the end."""
    columns = {name: run.metrics[f"reward/{name}"] for name in run.metrics.terms()}
    rows_of = {name: _ends(column.values) for name, column in columns.items() if column}
    if not rows_of:
        return None
    digits = digits_for(value for values in rows_of.values() for value in values)
    rows = [
        [name, *(decimal(value, digits) for value in (first, last, last - first))]
        for name, (first, last) in sorted(rows_of.items(), key=lambda row: -abs(row[1][1]))
    ]
    note = "Reward per episode: means of the first and of the last tenth of the generations."
    return Table("The reward's terms", ["term", "first", "last", "change"], rows, note=note)


def _ends(values: Any) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    tenth = max(1, len(finite) // 10)
    return float(finite[:tenth].mean()), float(finite[-tenth:].mean())


def failures_table(run: RunAccount) -> Table | None:
    """Failed training rollouts by kind; ``None`` where the run does not say."""
    if run.times is None or not run.times.failures:
        return None
    total = sum(failure.count for failure in run.times.failures)
    rows = [
        [f.kind, count(f.count), percent(f.count / total), count(f.first), count(f.last)]
        for f in run.times.failures
    ]
    head = ["kind", "rollouts", "share", "first generation", "last generation"]
    return Table(
        "Failures by kind",
        head,
        rows,
        note="Training rollouts. Kinds are told apart without their numbers: N.",
    )


def workers_table(run: RunAccount) -> Table | None:
    """What each lane of the timeline did."""
    if run.times is None or not run.times.workers:
        return None
    lanes = lanes_of(run.times)
    rows = [
        [
            lane.name,
            count(lane.workers),
            count(lane.rollouts),
            duration(lane.busy_s),
            duration(lane.waiting_s),
            percent(lane.utilisation),
        ]
        for lane in lanes.lanes
    ]
    head = [lanes.kind, "workers", "rollouts", "in rollouts", "waiting", "busy"]
    if lanes.kind == "worker":
        head, rows = [*head[:1], *head[2:]], [[*row[:1], *row[2:]] for row in rows]
    return Table(f"By {lanes.kind}", head, rows)


def notices_table(run: RunAccount) -> Table | None:
    """The last lines that people were told."""
    if not run.notices:
        return None
    rows = [[moment(time_s), line] for time_s, line in run.notices[-_MOST_NOTICES:]]
    left_out = len(run.notices) - len(rows)
    note = f"The last of {len(run.notices):,}." if left_out else ""
    return Table("Notices", ["when", "what was said"], rows, text_columns=2, note=note)


def settings_tables(run: RunAccount, defaults: Mapping[str, Any]) -> list[Table]:
    """The options that were given or are not their defaults, and all the others."""
    config = run.config
    chosen = {
        name
        for name in config
        if name in run.given or (name in defaults and config[name] != defaults[name])
    } | ({"seed"} & set(config))
    rows = [[name, value_text(config[name])] for name in sorted(config)]
    tables = [
        Table(
            title, ["option", "value"], [row for row in rows if (row[0] in chosen) is is_chosen], 2
        )
        for title, is_chosen in (("Chosen for this run", True), ("Defaults", False))
    ]
    return [table for table in tables if table.rows]
