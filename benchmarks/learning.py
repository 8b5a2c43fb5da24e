"""How long it takes to learn to land, from the command to a policy that does, beside EvoTorch.

``python benchmarks/learning.py tune`` searches settings for both sides, by the same draws, the same
number of trials and the same seconds for each, and writes what it finds to
``lander_race/learning.json``. ``python benchmarks/learning.py race`` lets both learn from seeds
that no trial had, in turns, and prints how long each took until theta's mean reward over 100
held-out episodes of LunarLanderContinuous-v3 was 250.

Ours is ``python es/experiment.py with lander ...``, as ``make train CONFIG=lander`` types it;
EvoTorch is PGPE on GymNE with an actor for each core (`rivals.evotorch_lander`). Wall time counts
from the start of the command, imports and Ray's or Redis's start included; the test is made
afterwards and counts for nobody (`lander_race.runs`). A run that does not get there counts as its
cap.

Runs are kept below ``--folder``: a command that was killed goes on where it was, less one run.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from lander_race.runs import RESULT, Outcome, make_run, outcome_in
from lander_race.scores import GOAL, HELD_OUT, Examiners, examiners
from lander_race.settings import EVOTORCH, OURS, ROOT, SIDES, Settings, drawn
from rivals.evotorch_command import startable

from fleet.provision import num_cores

FOUND = Path(__file__).parent / "lander_race" / "learning.json"
TARGET = 2.5
FIRST_RACE_SEED = 101
CONFIRMED = 2
"""How many of a side's best settings have a second seed before one is chosen."""

Make = Callable[[str, Settings, int, float, Path], Outcome]

_evotorch = click.option(
    "--evotorch",
    default=str(ROOT / ".venv-evotorch" / "bin" / "python"),
    callback=startable,
    help="A Python that has rivals/requirements-evotorch.txt.",
)
_folder = click.option(
    "--folder",
    default=ROOT / "runs" / "learning",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where runs are kept.",
)


@click.group()
def main() -> None:
    """Tune both sides, then let them race."""


@main.command()
@click.option("--trials", default=8, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=45.0, show_default=True, help="Of each trial, both sides alike.")
@_evotorch
@_folder
def tune(trials: int, seconds: float, evotorch: str, folder: Path) -> None:
    """Try settings; the best of each side are tried with a second seed before one is chosen."""
    tried: dict[str, dict[int, list[Outcome]]] = {side: {} for side in SIDES}
    with examiners(num_cores()) as pool:
        make = maker(pool, evotorch)

        def attempt(side: str, trial: int, seed: int) -> None:
            place = folder / "tune" / side / f"trial-{trial}-seed-{seed}"
            outcome = make(side, drawn(side, trial), seed, seconds, place)
            tried[side].setdefault(trial, []).append(outcome)

        for trial in range(trials):
            for side in in_turn(trial):
                attempt(side, trial, 1)
        best = {side: sorted(tried[side], key=lambda t: -worth(tried[side][t])) for side in SIDES}
        for turn in range(min(CONFIRMED, trials)):
            for side in in_turn(turn):
                attempt(side, best[side][turn], 2)
    found = {side: chosen(outcomes) for side, outcomes in tried.items()}
    FOUND.write_text(as_data(tried, found, trials, seconds))
    for side, settings in found.items():
        click.echo(f"{side}: {settings}")
    click.echo(f"written to {FOUND.name}")


@main.command()
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--cap", default=300.0, show_default=True, help="Seconds after which a run is ended.")
@_evotorch
@_folder
def race(seeds: int, cap: float, evotorch: str, folder: Path) -> None:
    """Learn with the settings that were found, in turns, and compare."""
    settings = found_settings()
    outcomes: dict[str, list[Outcome]] = {side: [] for side in SIDES}
    with examiners(num_cores()) as pool:
        make = maker(pool, evotorch)
        for number in range(seeds):
            for side in in_turn(number):
                seed = FIRST_RACE_SEED + number
                place = folder / "race" / side / f"seed-{seed}"
                outcomes[side].append(make(side, settings[side], seed, cap, place))
    click.echo("\n".join(table(outcomes)))


def in_turn(number: int) -> Sequence[str]:
    """The sides, of which either goes first as often as the other."""
    return SIDES if number % 2 == 0 else SIDES[::-1]


def maker(pool: Examiners, evotorch: str) -> Make:
    """Makes a run that is not there yet, and says how it went."""

    def make(side: str, settings: Settings, seed: int, seconds: float, place: Path) -> Outcome:
        outcome = outcome_in(place)
        if outcome is None:
            cores = num_cores()
            outcome = make_run(
                side, settings, seed, seconds, place, pool, evotorch=evotorch, cores=cores
            )
        elif (outcome.settings, outcome.seconds) != (settings, seconds):
            raise click.ClickException(
                f"{place} was made with other settings or in {outcome.seconds:g} s: remove it, or "
                "name another --folder"
            )
        if not outcome.points:
            (place / RESULT).unlink(missing_ok=True)  # or it would count as made
            raise click.ClickException(f"{side} came to nothing: {place / 'log'} says why")
        now = time.strftime("%H:%M:%S")
        click.echo(f"{now} {side}, seed {seed}: {settings}: {said(outcome)}", err=True)
        return outcome

    return make


def said(outcome: Outcome) -> str:
    """How far a run came, in words."""
    if outcome.reached_s is None:
        return f"not in {outcome.seconds:g} s, at best {outcome.best:.0f}"
    return f"{GOAL:g} after {outcome.reached_s:.1f} s and {outcome.steps:,} steps"


def worth(outcomes: Sequence[Outcome]) -> float:
    """What settings are ranked by, the mean over their seeds: the mean reward they came to, or the
    goal and the seconds they had left then.
    """
    return statistics.fmean(
        o.best if o.reached_s is None else GOAL + o.seconds - o.reached_s for o in outcomes
    )


def chosen(tried: dict[int, list[Outcome]]) -> Settings:
    """The best of those that were tried with most seeds."""
    most = max(map(len, tried.values()))
    best = max((o for o in tried.values() if len(o) == most), key=worth)
    return best[0].settings


def as_data(
    tried: dict[str, dict[int, list[Outcome]]],
    found: dict[str, Settings],
    trials: int,
    seconds: float,
) -> str:
    """What is committed: the settings that were found, and all that were tried."""
    return (
        json.dumps(
            {
                "trials": trials,
                "seconds": seconds,
                "found": {side: settings._asdict() for side, settings in found.items()},
                "tried": {
                    side: [
                        {
                            "settings": str(outcome.settings),
                            "seed": outcome.seed,
                            "load": round(outcome.load, 1),
                            "came to": said(outcome),
                        }
                        for outcomes in trials_of_side.values()
                        for outcome in outcomes
                    ]
                    for side, trials_of_side in tried.items()
                },
            },
            indent=2,
        )
        + "\n"
    )


def found_settings() -> dict[str, Settings]:
    """By side, from what `tune` left."""
    if not FOUND.exists():
        raise click.ClickException(f"{FOUND.name} is not there: tune first")
    found = json.loads(FOUND.read_text())["found"]
    return {side: Settings(**found[side]) for side in SIDES}


def table(outcomes: dict[str, list[Outcome]]) -> Iterator[str]:
    """Lines that say how long each took; a run that did not get there counts as its cap."""
    yield (
        f"seconds until {GOAL:g} over {len(HELD_OUT)} held-out episodes (simulator steps); "
        f"{num_cores()} cores, load now {os.getloadavg()[0]:.1f}"
    )
    yield f"{'seed':>6}{OURS:>22}{'load':>6}{EVOTORCH:>22}{'load':>6}"
    for ours, theirs in zip(outcomes[OURS], outcomes[EVOTORCH], strict=True):
        yield (f"{ours.seed:6}{cell(ours):>22}{ours.load:6.1f}{cell(theirs):>22}{theirs.load:6.1f}")
    medians = {side: statistics.median(map(counted_s, outcomes[side])) for side in SIDES}
    yield f"{'median':>6}{medians[OURS]:21.1f}s{'':6}{medians[EVOTORCH]:21.1f}s"
    yield f"EvoTorch to ours: {medians[EVOTORCH] / medians[OURS]:.2f}, target {TARGET}"
    for side in SIDES:
        yield f"{side}: {outcomes[side][0].settings}"


def counted_s(outcome: Outcome) -> float:
    """Seconds to the goal, or those the run was given."""
    return outcome.seconds if outcome.reached_s is None else outcome.reached_s


def cell(outcome: Outcome) -> str:
    """Seconds and steps of a run, as the table has them."""
    if outcome.reached_s is None:
        return f"> {outcome.seconds:.0f} (best {outcome.best:.0f})"
    return f"{outcome.reached_s:.1f} ({outcome.steps:,})"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends what runs
    main()
