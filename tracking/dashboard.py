"""``python -m tracking.dashboard``: MongoDB and Omniboard on this machine, without Docker.

Both listen on 127.0.0.1 only. What MongoDB holds stays in its folder, under a password of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from errors import EsError
from tracking.interruption import interruptible

MONGO_PORT = 27017
OMNIBOARD_PORT = 9000


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("runs/mongodb"), show_default=True,
    help="Where MongoDB keeps its data.",
)  # fmt: skip
@click.option("--port", default=MONGO_PORT, show_default=True, help="Of MongoDB.")
@click.option("--omniboard_port", default=OMNIBOARD_PORT, show_default=True, help="Of Omniboard.")
@click.option(
    "--remember", "remembering", is_flag=True,
    help="Record all your runs there from now on, while it runs.",
)  # fmt: skip
def main(folder: Path, port: int, omniboard_port: int, remembering: bool) -> None:
    """MongoDB and Omniboard on this machine only, until Ctrl-C."""
    try:
        with interruptible():
            # pymongo takes longer to load than --help may take to answer.
            from tracking.mongo.dashboard import Dashboard, described, remember

            dashboard = Dashboard(folder, port, omniboard_port)
            try:
                remembered = remember(dashboard.server) if remembering else None
                print(described(dashboard, remembered), flush=True)
                dashboard.watch()
            finally:
                dashboard.stop()
    except KeyboardInterrupt:
        return  # the way it is meant to end, also while it is still starting
    except EsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
