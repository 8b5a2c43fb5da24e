"""What the noise table costs: ``python benchmarks/noise_table.py``.

Drawing the table into shared memory with its checksum and mapping it (`search.noise.open_table`),
beside one numpy thread that draws as many values of the same kind into an array of its own, and
neither checks nor shares them; a ratio of 1 or more means that ours is not slower. They take turns.
Then what a second process waits for the table that is there: `open_declared`, as a worker calls it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from numpy.random import Generator, Philox

from search.noise import DEFAULT_LENGTH, NoiseTable, open_table

SEED = 1  # another than any run's, so that no table of a run is found
SECOND_PROCESS_S = 0.005
_SECOND = """
import sys, time
from pathlib import Path
from search.messages import NoiseSpec
from search.noise import open_declared
started_s = time.perf_counter()
spec = NoiseSpec(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
with open_declared(spec, Path(sys.argv[4])) as table:
    table.row(spec.length // 2, 1000).sum()
    print(time.perf_counter() - started_s)
"""


@click.command()
@click.option("--length", default=DEFAULT_LENGTH, show_default=True, help="Values of the table.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
def main(length: int, rounds: int) -> None:
    """Measure building and mapping the table against numpy alone."""
    drawn, built, mapped = [], [], []
    shared_memory = Path("/dev/shm")
    parent = shared_memory if shared_memory.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        for _ in range(rounds):
            drawn.append(draw_s(length))
            started_s = time.perf_counter()
            with open_table(SEED, length, Path(folder)) as table:
                built.append(time.perf_counter() - started_s)
                mapped.append(second_process_s(table))
    ratio = statistics.median(bare / ours for bare, ours in zip(drawn, built, strict=True))
    print(f"{length:,} values, medians of {rounds} rounds; load {os.getloadavg()[0]:.1f}")
    print(f"numpy, one thread       {statistics.median(drawn):7.3f} s")
    print(f"ours, built and mapped  {statistics.median(built):7.3f} s  {ratio:.2f} times as fast")
    print(
        f"a second process        {statistics.median(mapped) * 1e3:7.2f} ms"
        f"  target < {SECOND_PROCESS_S * 1e3:g} ms"
    )


def draw_s(length: int) -> float:
    """Seconds that numpy takes to draw the values once."""
    started_s = time.perf_counter()
    generator = Generator(Philox(SEED))
    generator.standard_normal(length, dtype=np.float32)
    return time.perf_counter() - started_s


def second_process_s(table: NoiseTable) -> float:
    """Seconds until another process has read a row of the ``table``, its start not counted."""
    spec = table.spec
    words = [str(spec.seed), str(spec.length), spec.checksum, str(table.path.parent)]
    command = [sys.executable, "-c", _SECOND, *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
