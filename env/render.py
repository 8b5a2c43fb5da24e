"""Watch a policy: ``python env/render.py <run id> [--out FILE.mp4] [--sto DIR]``, or a gait file's.

Environment, policy, parameters and observation statistics come from the run itself, also while it
is still training. A window where there is a display and no file is named, a video otherwise.
Several generations are seen side by side: ``--gens 0,best,last``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from errors import EsError, in_options


@click.command()
@click.argument("run_id", required=False)
@click.option("--gait", "gait_path", type=click.Path(path_type=Path), help="A gait file instead.")
@click.option("--gen", type=int, help="Generation of the checkpoint; the newest by default.")
@click.option("--best", is_flag=True, help="The generation with the best fitness/current.")
@click.option("--gens", help="Several that were kept, side by side: 0,best,last.")
@click.option("--num_episodes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--max_ep_length", type=click.IntRange(1), help="Cap of an episode in steps.")
@click.option("--seed", type=click.IntRange(0), help="Of the first episode; the run's by default.")
@click.option(
    "--every",
    type=click.IntRange(1),
    help="A frame every so many simulator steps; by default 25 or fewer for a second. "
    "It plays in real time in any case.",
)
@click.option(
    "--sleep", type=click.FloatRange(0), default=0.0, help="Pause before a frame in a window, s."
)
@click.option("--out", type=click.Path(path_type=Path), help="FILE.mp4 or FILE.gif.")
@click.option(
    "--sto",
    type=click.Path(path_type=Path),
    help="Folder for states, controls and ground reactions as OpenSim reads them, and plots.",
)
@click.option("--preset", help="OpenSim: exact or fast, instead of the run's own.")
@click.option("--runs_dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--include", type=click.Path(path_type=Path), help="Folder of your own modules.")
def main(**given: Any) -> None:
    """Show what the policy of run RUN_ID does: in a window, as a video, or as files for OpenSim."""
    from env.rendering import render  # takes longer to load than --help may take to answer

    try:
        render(**given)
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
