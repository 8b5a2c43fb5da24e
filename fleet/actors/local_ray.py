"""Ray on this machine for one run: ``python -m fleet.actors.local_ray``, started by `cluster`.

In a session of its own, so that all of it can be ended at once, and a Ctrl-C does not reach it. Ray
by itself would leave some of its processes behind for a minute when its starter is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import click

from errors import ResourceExhausted
from fleet.figures import harmless
from fleet.parent import die_with_parent

LOOPBACK = "127.0.0.1"

_OBJECTS_BYTES = 2**30
_ADDRESS_FILE = "address"
_PARTIAL_FILE = "address-partial"


class Addresses(NamedTuple):
    """Where Ray is; ``dashboard`` is empty where there is none."""

    gcs: str
    dashboard: str


def addresses(folder: Path) -> Addresses | None:
    """What the process that was given ``folder`` has started, once it has."""
    try:
        gcs, dashboard = (folder / _ADDRESS_FILE).read_text().split("\n")
    except FileNotFoundError:
        return None
    return Addresses(gcs, dashboard)


@click.command(hidden=True)
@click.option("--parent-pid", type=int, required=True)
@click.option("--lifeline-fd", type=int, required=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--num-cpus", type=int, required=True)
@click.option("--dashboard", is_flag=True)
def main(parent_pid: int, lifeline_fd: int, folder: Path, num_cpus: int, dashboard: bool) -> None:
    """Start Ray, and end it when asked to leave."""
    die_with_parent(parent_pid, lifeline_fd)
    import ray

    asked = threading.Event()
    try:
        context: Any = ray.init(
            address="local",
            num_cpus=num_cpus,
            num_gpus=0,
            object_store_memory=_OBJECTS_BYTES,
            include_dashboard=dashboard,
            dashboard_host=LOOPBACK,
            configure_logging=False,
            log_to_driver=False,
            # Ray opens the folder it is given to everybody; ours, round it, stays closed.
            _temp_dir=str(folder / "ray"),
        )
    except Exception as error:
        why = first_line(error)
        if dashboard and "missing packages" in why:
            why = why.rstrip(".") + f'; pip install "ray[default]=={ray.__version__}" brings them'
        print(f"Ray cannot be started here: {why}", file=sys.stderr)
        sys.exit(ResourceExhausted.exit_code)
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    found = context.address_info["gcs_address"], context.dashboard_url or ""
    (folder / _PARTIAL_FILE).write_text("\n".join(found))
    (folder / _PARTIAL_FILE).rename(folder / _ADDRESS_FILE)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # nobody listens any more
    asked.wait()
    ray.shutdown()


def first_line(error: BaseException) -> str:
    """What Ray says in many lines, in one."""
    lines = [line.strip() for line in str(error).splitlines()]
    return harmless(next(filter(None, lines), type(error).__name__), 300)


if __name__ == "__main__":
    main()
