"""Searches side by side: the same tasks, seeds and simulator steps, one picture and one table.

``python -m benchmarks.compare`` from the project's folder makes docs/comparison.md's runs, which
takes hours of two cores; ``--task``, ``--search``, ``--seeds`` and ``--budget`` make fewer. Each
run is that of ``python es/experiment.py with TASK`` or ``python nevergrad_es/experiment.py with
TASK tool=SEARCH``, by the settings of its named config but for what `comparison.tasks` says. Runs
that are there are used again: a comparison that was stopped goes on by the same command, and one
more seed costs one more seed.

Fitness is that of theta, never of a candidate: over the validation episodes along the way and over
the final ones at the end, both the same for all searches of a seed. Steps include validation's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

# `python -m` puts the project's folder first, and this one nowhere.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from comparison.results import Learnt, learnt, picture, table
from comparison.runs import Session, Trial, is_complete, make_runs
from comparison.tasks import SEARCHES, TASKS

from errors import EsError, RunError
from tracking.interruption import interruptible

PICTURE = "comparison.png"
TABLE = "comparison.md"
_UNASKED = ("lander", "pendulum_partial", "walk")


class Progress:
    """Tells of a comparison on the terminal.

    Args:
        total: runs to be made.
        out: the comparison's folder.
    """

    def __init__(self, total: int, out: Path) -> None:
        self._total = total
        self._out = out
        self._done = 0
        self.failures: list[str] = []

    def ended(self, session: Session) -> None:
        """A run has ended: how."""
        self._done += 1
        run = session.trial.stored(self._out)
        if is_complete(run):
            assert run is not None
            assert run.result is not None
            said = f"{run.result['fitness_current']:.4g}, {run.result['wall_s']:.0f} s"
        else:
            said = f"failed: {session.last_line()} (all of it: {session.log})"
            self.failures.append(f"{session.trial}: {said}")
        self._say(f"{self._done} of {self._total}: {session.trial}: {said}", stays=True)

    def show(self, running: Sequence[Session]) -> None:
        """What runs, in one line of a terminal that is overwritten by the next."""
        shares = [f"{s.trial} {s.steps / s.trial.budget_steps:.0%}" for s in running]
        if sys.stderr.isatty() and shares:
            self._say(f"{self._done} of {self._total} runs; {'; '.join(shares)}", stays=False)

    def _say(self, line: str, *, stays: bool) -> None:
        if not sys.stderr.isatty():
            click.echo(line, err=True)
            return
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        click.echo(f"\r\x1b[K{line if stays else line[: width - 1]}", err=True, nl=stays)


def compare(trials: Sequence[Trial], out: Path, jobs: int) -> list[str]:
    """Make the runs that are missing, write the picture and the table; the table's lines.

    Raises:
        ConfigError: a run is there with other settings.
        RunError: a run failed; those that did not are in picture and table.
    """
    missing = [trial for trial in trials if not is_complete(trial.stored(out))]
    progress = Progress(len(missing), out)
    if missing:
        make_runs(missing, out, jobs, ended=progress.ended, show=progress.show)
    found: dict[str, dict[str, list[Learnt]]] = {}
    for trial in trials:
        run = trial.stored(out)
        if run is not None and is_complete(run):
            found.setdefault(trial.task, {}).setdefault(trial.search, []).append(learnt(run))
    lines = [line for task, by_search in found.items() for line in (*table(task, by_search), "")]
    if found:
        picture(found, {trial.task: trial.budget_steps for trial in trials}, out / PICTURE)
        (out / TABLE).write_text("\n".join(lines))
    if progress.failures:
        count = len(progress.failures)
        raise RunError(f"{count} of {len(missing)} runs failed; the first: {progress.failures[0]}")
    return lines


@click.command(help=(__doc__ or "").partition("\n\n")[0])
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(list(TASKS)),
    default=_UNASKED,
    show_default=True,
)
@click.option(
    "--search",
    "searches",
    multiple=True,
    type=click.Choice(list(SEARCHES)),
    help="Else those that the task says.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Seeds 1 to this; else as many as the task says."
)
@click.option(
    "--budget", type=click.IntRange(min=1), help="Simulator steps of a run; else the task's."
)
@click.option(
    "--jobs",
    default=os.cpu_count() or 1,
    show_default="one for each core",
    type=click.IntRange(min=1),
    help="Runs at a time.",
)
@click.option(
    "--out",
    default=Path("runs/comparison"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the runs, the picture and the table.",
)
def main(
    tasks: Sequence[str],
    searches: Sequence[str],
    seeds: int | None,
    budget: int | None,
    jobs: int,
    out: Path,
) -> None:
    """Make the comparison that the options ask for."""
    trials = [
        Trial(task, search, seed, budget or TASKS[task].budget_steps)
        for task in tasks
        for seed in range(1, (seeds or TASKS[task].seeds) + 1)
        for search in searches or TASKS[task].searches
    ]
    try:
        with interruptible():
            click.echo("\n".join(compare(trials, out.resolve(), jobs)))
    except EsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on from here", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
