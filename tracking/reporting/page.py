"""The page itself: figures and tables in one file of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tracking.cost import Cost, read_cost
from tracking.reporting import tables
from tracking.reporting.account import RunAccount
from tracking.reporting.axes import AXES
from tracking.reporting.comparison import comparison_figures, scores_figure
from tracking.reporting.figures_of_run import FigureParts, figures_of_run
from tracking.reporting.films import Film, FilmStore
from tracking.reporting.groups import Group, grouped
from tracking.reporting.svg import SvgMaker
from tracking.reporting.tables import Table
from tracking.reporting.units import NONE, count, decimal, duration, moment, percent, size

MOST_DETAILED = 8

_HERE = Path(__file__).parent


class Fact(NamedTuple):
    """A key figure: what, how much, and what it is of."""

    name: str
    value: str
    detail: str = ""


class RunPart(NamedTuple):
    """What the page says about one run."""

    title: str
    subtitle: str
    status: str
    warnings: list[str]
    facts: list[Fact]
    figures: list[FigureParts]
    tables: list[Table]
    film: Film | None
    settings: list[Table]
    notices: Table | None
    provenance: list[Fact]
    lacks: list[str]


def page_html(
    accounts: Sequence[RunAccount], *, defaults: Mapping[str, Any], films: FilmStore
) -> str:
    """The report of ``accounts``, in their order.

    Args:
        accounts: one, or several to compare.
        defaults: this release's, by option.
        films: what takes their videos in.
    """
    make = SvgMaker()
    groups = grouped(accounts, defaults)
    is_comparison = len(accounts) > 1
    is_detailed = len(accounts) <= MOST_DETAILED
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        style=(_HERE / "page.css").read_text(),
        title=_title(accounts),
        made=moment(accounts[0].read_s),
        axes=AXES,
        is_comparison=is_comparison,
        is_detailed=is_detailed,
        most_detailed=MOST_DETAILED,
        summary=_summary(groups) if is_comparison else "",
        figures=comparison_figures(groups, make) if is_comparison else [],
        scores=scores_figure(groups, make) if is_comparison else None,
        comparison_tables=_comparison_tables(groups) if is_comparison else [],
        size=size,
        runs=[_run_part(run, make, defaults, films) for run in accounts] if is_detailed else [],
    )


def _title(accounts: Sequence[RunAccount]) -> str:
    ids = ", ".join(str(account.run_id) for account in accounts[:MOST_DETAILED])
    if len(accounts) > MOST_DETAILED:
        ids += f" and {len(accounts) - MOST_DETAILED} more"
    names = dict.fromkeys(str(account.config.get("env_name", "?")) for account in accounts)
    return f"{', '.join(names)}: run{'s' if len(accounts) > 1 else ''} {ids}"


def _summary(groups: Sequence[Group]) -> str:
    num_runs = sum(len(group.runs) for group in groups)
    if len(groups) == 1:
        return f"{num_runs} runs of one configuration: they differ by chance alone."
    text = f"{num_runs} runs of {len(groups)} configurations."
    if len({group.env_name for group in groups}) > 1:
        text += " Their environments differ: fitnesses compare within one only."
    return text


def _comparison_tables(groups: Sequence[Group]) -> list[Table]:
    found = [tables.score_table(groups), tables.differences_table(groups)]
    return [*(table for table in found if table is not None), tables.runs_table(groups)]


def _run_part(
    run: RunAccount, make: SvgMaker, defaults: Mapping[str, Any], films: FilmStore
) -> RunPart:
    found = [tables.terms_table(run), tables.workers_table(run), tables.failures_table(run)]
    return RunPart(
        title=f"Run {run.run_id}",
        subtitle=_subtitle(run),
        status=run.status,
        warnings=list(_warnings(run)),
        facts=list(_facts(run)),
        figures=list(figures_of_run(run, make)),
        tables=[table for table in found if table is not None],
        film=films.newest(run.run.path),
        settings=tables.settings_tables(run, defaults),
        notices=tables.notices_table(run),
        provenance=list(_provenance(run)),
        lacks=run.lacks,
    )


def _subtitle(run: RunAccount) -> str:
    config = run.config
    parts = [str(config.get("env_name", "?")), str(config.get("network", ""))]
    parts += [str(config.get("tool", "")), f"seed {config.get('seed', NONE)}"]
    if run.started_s is not None:
        parts.append(f"begun {moment(run.started_s)}")
    return ", ".join(part for part in parts if part)


def _warnings(run: RunAccount) -> list[str]:
    found = []
    if run.silence is not None:
        found.append(
            f"It says that it is running, but was last heard of {run.silence}: probably killed; "
            f"resume={run.run_id} goes on with it."
        )
    elif run.status == "running":
        found.append("It is still running: this is how far it has come.")
    if run.status == "interrupted":
        found.append(f"It was interrupted: resume={run.run_id} goes on with it.")
    if run.status == "failed":
        found.append(f"It failed: {run.error or 'its record does not say of what'}")
    return found


def _facts(run: RunAccount) -> list[Fact]:
    metrics = run.metrics
    facts = []
    if run.final is not None:
        digits = tables.digits_for([run.final.value])
        detail = run.final.meaning
        if run.final.episodes:
            detail += f", {count(run.final.episodes)} episodes"
        facts.append(Fact("Final fitness", decimal(run.final.value, digits), detail))
    best = metrics["fitness/current"].best
    if best is not None:
        facts.append(Fact("Best validation", decimal(best, tables.digits_for([best]))))
    seconds = metrics["time/elapsed_s"].last
    steps = metrics["work/env_steps_total"].last
    ended = str(run.result.get("ended", ""))
    facts += [
        Fact("Generations", count(metrics.num_generations), f"ended: {ended}" if ended else ""),
        Fact("Training time", duration(seconds), f"{run.sessions} sessions" * (run.sessions > 1)),
        Fact(
            "Simulator steps",
            count(steps),
            f"{count(steps / seconds)} a second" if steps and seconds else "",
        ),
        Fact("Workers busy", percent(tables.utilisation(run)), _workers_words(run)),
        Fact(
            "Failed rollouts",
            count(metrics["failures/failed_total"].last),
            f"of {count(metrics['work/rollouts_total'].last)}",
        ),
        Fact(
            "Handed out again",
            count(metrics["work/reissued_total"].last),
            f"{count(metrics['work/lost_total'].last)} lost with their worker",
        ),
    ]
    cost = read_cost(run.run.path)
    return [*facts, _cost_fact(cost)] if cost is not None else facts


def _cost_fact(cost: Cost) -> Fact:
    detail = f"estimated at {moment(cost.time_s)}, for the whole cluster; then "
    detail += f"{cost.usd_per_hour:.2f} USD an hour"
    if cost.budget_usd is not None:
        detail += f"; budget {cost.budget_usd:.2f} USD"
    return Fact("Cost", f"{cost.usd:.2f} USD", detail)


def _workers_words(run: RunAccount) -> str:
    most = run.metrics["workers/now"].best
    machines = run.metrics["workers/machines"].best
    if most is None:
        return ""
    words = f"of up to {count(most)} worker{'s' if most != 1 else ''}"
    return f"{words} on {count(machines)} machines" if machines and machines > 1 else words


def _provenance(run: RunAccount) -> list[Fact]:
    result = run.result
    reproducible = {"True": "yes, to the bit", "False": "no"}.get(str(result.get("reproducible")))
    rows = [
        Fact("command", f"with {run.command}" if run.command else NONE),
        Fact("reproducible", reproducible or NONE),
        Fact("theta_sha256", str(result.get("theta_sha256", NONE))),
        Fact("run_uid", str(result.get("run_uid", NONE))),
        Fact("head", run.host or NONE),
        Fact("directory", str(run.run.path)),
    ]
    return [row for row in rows if row.value != NONE]
