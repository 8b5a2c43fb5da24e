"""Score a policy: ``python env/evaluate.py <run id> --episodes 20``, or ``--gait FILE``.

Episodes run on the final-test seeds, which no training has seen, by the pools that training uses,
and OpenSim environments at their exact preset.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from errors import EsError, in_options

POOLS = ("redis", "serial", "ray")  # as search.run_config has them, which loads numpy
CONTROLLERS = ("trained", "untrained", "random")


@click.command()
@click.argument("run_id", required=False)
@click.option("--gait", "gait_path", type=click.Path(path_type=Path), help="A gait file instead.")
@click.option("--episodes", type=click.IntRange(1), help="10; 1 where episodes never differ.")
@click.option("--gen", type=int, help="Generation of the checkpoint; the newest by default.")
@click.option("--best", is_flag=True, help="The generation with the best fitness/current.")
@click.option(
    "--controller",
    type=click.Choice(CONTROLLERS),
    default="trained",
    show_default=True,
    help="Whose score: this policy's, its untrained self's, or that of random actions.",
)
@click.option(
    "--max_ep_length", type=click.IntRange(1), help="Another cap of an episode, in steps."
)
@click.option("--seed", type=click.IntRange(0), help="Of the test; the run's own by default.")
@click.option("--pool", type=click.Choice(POOLS), default="redis", show_default=True)
@click.option("--workers", type=click.IntRange(0), help="To start; by default those there are.")
@click.option("--redis_url", help="The head's Redis; also ES_REDIS_URL.")
@click.option("--runs_dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--include", type=click.Path(path_type=Path), help="Folder of your own modules.")
@click.option("--save", type=click.Path(path_type=Path), help="Keep the policy as a gait file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def main(**given: Any) -> None:
    """Score the policy of run RUN_ID on held-out episodes, OpenSim at the exact preset.

    It is the run's closing test again, with as many episodes as are asked for. A gait file's
    episodes end where the environment ends them.
    """
    from env.evaluating import evaluate  # takes longer to load than --help may take to answer

    try:
        evaluate(**given)
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
