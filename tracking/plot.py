"""A run's learning curve as a picture: ``python -m tracking.plot 12 --out curve.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from errors import ConfigError, EsError
from tracking.store import StoredRun, open_run

_CURRENT, _MEAN, _BEST = "#0b6e4f", "#3d6fb4", "#a9a9a9"
_SIZE_INCHES = (8.0, 4.5)


def learning_curve_png(run: StoredRun, path: Path, *, against: str = "generation") -> None:
    """Draw fitness over generations, or over ``time`` in minutes, into ``path``.

    Theta's fitness on the validation episodes with a band of one standard error to each side,
    the mean of the candidates, and the best candidate of each generation.

    Raises:
        ConfigError: the run has no metrics yet, or ``path`` cannot be written.
    """
    # Imported here: half a second, and most who import this package draw nothing.
    from matplotlib.figure import Figure

    metrics = run.metrics()
    if "fitness/mean" not in metrics:
        raise ConfigError(f"run {run.run_id} has no metrics yet: wait for its first generation")
    elapsed = metrics.get("time/elapsed_s")
    if against == "time" and elapsed is None:
        raise ConfigError(f"run {run.run_id} did not record its time: draw it over generations")

    def series(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        numbers, values = metrics.get(name, (np.empty(0, np.int64), np.empty(0)))
        x = numbers.astype(np.float64)
        if against == "time" and elapsed is not None:
            x = np.interp(x, elapsed[0], elapsed[1]) / 60.0
        return x, values

    figure = Figure(figsize=_SIZE_INCHES, dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.plot(*series("fitness/best"), color=_BEST, linewidth=1, label="best candidate")
    axes.plot(*series("fitness/mean"), color=_MEAN, linewidth=1.5, label="mean of candidates")
    x, current = series("fitness/current")
    if len(x):
        marker = "." if len(x) <= 60 else ""
        axes.plot(x, current, color=_CURRENT, linewidth=2, marker=marker, label="theta, validated")
        error_x, error = series("fitness/current_se")
        if len(error_x):
            band = np.interp(x, error_x, error)
            label = "± one standard error"
            axes.fill_between(
                x,
                current - band,
                current + band,
                color=_CURRENT,
                alpha=0.2,
                linewidth=0,
                label=label,
            )
    axes.set_xlabel("training time (minutes)" if against == "time" else "generation")
    axes.set_ylabel("fitness (sum of rewards in an episode)")
    axes.set_title(f"{run.config.get('env_name', 'run')}, run {run.run_id}", loc="left")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot write {path} ({reason}): give a .png with --out") from None


@click.command()
@click.argument("run_id")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The picture to make.")
@click.option(
    "--runs_dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True
)
@click.option(
    "--against",
    type=click.Choice(["generation", "time"]),
    default="generation",
    show_default=True,
    help="What the horizontal axis shows.",
)
def main(run_id: str, out: Path, runs_dir: Path, against: str) -> None:
    """Draw the learning curve of RUN_ID."""
    try:
        learning_curve_png(open_run(run_id, runs_dir), out, against=against)
    except EsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
