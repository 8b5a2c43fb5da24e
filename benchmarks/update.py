"""How fast the update reads the noise: ``python benchmarks/update.py``.

Times `es.gradient.estimate_gradient` and, in the same rounds, the fastest plain read of the same
table that numpy offers on one core, and the estimate as most implementations write it: gather the
rows into a matrix, multiply by the weights. Medians over the rounds; one thread throughout.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import click
import numpy as np

from es.gradient import estimate_gradient
from search.arithmetic import use_one_thread
from search.noise import NoiseTable, open_table, required_length


@click.command()
@click.option("--dim", default=166_000, show_default=True, help="Parameters D.")
@click.option("--pairs", default=1_000, show_default=True, help="Mirrored pairs N.")
@click.option("--rounds", default=5, show_default=True, help="Of which the medians are.")
def main(dim: int, pairs: int, rounds: int) -> None:
    """How fast the update reads the noise."""
    use_one_thread()
    with open_table(0, required_length(dim)) as noise:
        measure(noise, dim, pairs, rounds)


def measure(noise: NoiseTable, size: int, pairs: int, rounds: int) -> None:
    """Print a line for each way of reading ``pairs`` rows of ``size`` float32."""
    values = noise.values
    words = values.view(np.int32)
    random = np.random.default_rng(0)
    indices = random.integers(0, len(values) - size, pairs, endpoint=True)
    fitness = random.standard_normal(2 * pairs)

    def update() -> None:
        estimate_gradient(values, indices, fitness, 0.1, size)

    # By 100 rows: all 1,000 of D=166,000 at once are a matrix of 664 MB.
    def gather_and_multiply() -> None:
        weights = (fitness[0::2] - fitness[1::2]).astype(np.float32)
        total = np.zeros(size, dtype=np.float32)
        for first in range(0, pairs, 100):
            batch = slice(first, first + 100)
            total += weights[batch] @ np.stack([noise.row(i, size) for i in indices[batch]])

    reads: dict[str, Callable[[], object]] = {
        "dot": lambda: np.dot(values, values),
        "max": lambda: values.max(),
        "max as int32": lambda: words.max(),
    }
    ways = {"update": update, "gather": gather_and_multiply, **reads}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    update()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    median_s = {name: median(times) for name, times in seconds.items()}

    noise_gb, table_gb = 4e-9 * size * pairs, 4e-9 * len(values)
    fastest = min(reads, key=lambda name: median_s[name])
    read_gb_per_s = table_gb / median_s[fastest]
    print(f"D={size:,} pairs={pairs:,} noise read {noise_gb:.3f} GB, table {table_gb:.3f} GB")
    print(f"plain read, one core ({fastest}): {read_gb_per_s:.1f} GB/s")
    for name in ("update", "gather"):
        gb_per_s = noise_gb / median_s[name]
        label = "update" if name == "update" else "gather and matrix product"
        print(
            f"{label}: {median_s[name]:.4f} s, {gb_per_s:.2f} GB/s of noise, "
            f"ratio {gb_per_s / read_gb_per_s:.2f}"
        )


if __name__ == "__main__":
    main()
