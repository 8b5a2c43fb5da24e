"""What ``make bench`` runs are commands that their scripts take."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import pytest

from benchmarks.__main__ import BENCHMARKS, Benchmark


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: str(benchmark.name))
def test_a_benchmark_takes_what_make_bench_gives_it(benchmark: Benchmark) -> None:
    _, script, *words = benchmark.command(Path("python"))
    command = importlib.import_module(Path(script).stem).main
    with command.make_context(script, words) as context:
        if isinstance(command, click.Group):
            name, chosen, words = command.resolve_command(context, words)
            chosen.make_context(name, words, parent=context)
