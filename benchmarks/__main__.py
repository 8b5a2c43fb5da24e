"""Every benchmark of speed, one after the other: ``make bench``, or ``python -m benchmarks``.

Each is a command of its own, which is printed before what it prints. ``--only rollouts,update``
runs those alone, ``--list`` says what there is and how long it takes on two cores that have
nothing else to do. One that fails is named at the end, and the others run all the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import click

HERE = Path(__file__).resolve().parent
EVOTORCH = HERE.parent / ".venv-evotorch" / "bin" / "python"


class Benchmark(NamedTuple):
    """A command, and about how many minutes it takes."""

    words: str
    minutes: float

    @property
    def name(self) -> str:
        """What ``--only`` calls it: its script."""
        return Path(self.words.split()[0]).stem

    def command(self, evotorch: Path) -> list[str]:
        """The command, with EvoTorch's Python where it asks for one."""
        return [sys.executable, *self.words.format(evotorch=evotorch).split()]


BENCHMARKS = (
    Benchmark("benchmarks/rollouts.py --evotorch={evotorch}", 5),
    Benchmark("benchmarks/ray_pool.py", 4),
    Benchmark("benchmarks/opensim_adapter.py", 12),
    Benchmark("benchmarks/opensim_pool.py", 3),
    Benchmark("benchmarks/update.py", 0.5),
    Benchmark("benchmarks/noise_table.py", 0.5),
    Benchmark("benchmarks/start.py", 2),
    Benchmark("benchmarks/actor.py", 2),
    Benchmark("benchmarks/growth.py all", 12),
    Benchmark("benchmarks/pictures.py", 2),
    Benchmark("benchmarks/fleet_scale.py all", 35),
    Benchmark("benchmarks/learning.py race --evotorch={evotorch}", 15),
)


@click.command()
@click.option("--only", help="Names, by commas.")
@click.option("--list", "listing", is_flag=True, help="Say what there is, and run nothing.")
@click.option(
    "--evotorch",
    default=EVOTORCH,
    type=click.Path(path_type=Path),
    help="A Python that has benchmarks/rivals/requirements-evotorch.txt (make bench builds one).",
)
def main(only: str | None, listing: bool, evotorch: Path) -> None:
    """Run every benchmark of speed, and print what each one measures."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    wanted = only.split(",") if only else names
    if unknown := sorted(set(wanted) - set(names)):
        raise click.UsageError(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    chosen = [benchmark for benchmark in BENCHMARKS if benchmark.name in wanted]
    if listing:
        for benchmark in chosen:
            click.echo(f"{benchmark.name:18}{benchmark.minutes:5g} min")
        return
    failed = [benchmark.name for benchmark in chosen if not ran(benchmark, evotorch)]
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")


def ran(benchmark: Benchmark, evotorch: Path) -> bool:
    """Run it where everybody sees it; whether it came to its end."""
    command = benchmark.command(evotorch)
    click.echo(f"\n$ python {' '.join(command[1:])}")
    began_s = time.monotonic()
    status = subprocess.run(command, cwd=HERE.parent, check=False).returncode
    click.echo(f"({time.monotonic() - began_s:.0f} s)")
    return status == 0


if __name__ == "__main__":
    main()
