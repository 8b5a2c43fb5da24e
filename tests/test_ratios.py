"""What we cost beside what we are made of, as ratios within one run: a change that makes ours twice
as slow fails here, and a machine that is busy or slow does not. `docs/performance.md` has the real
figures.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import actor
import numpy as np
import pytest
import rollouts

from env.spec import EnvSpec
from es.gradient import estimate_gradient
from fleet.provision import num_cores
from policy.spec import PolicySpec
from search.noise import open_table

ROOT = Path(__file__).resolve().parents[1]
LANDER = "LunarLanderContinuous-v3"

QUICK_HELP = (
    *("es/experiment.py", "es/worker.py", "es/head.py", "env/render.py", "env/evaluate.py"),
    *("-m tracking.report", "-m tracking.sync"),
)


def in_turns(*ways: Callable[[], object], rounds: int = 5) -> list[float]:
    """Processor seconds of each, medians; other processes' work is in none of them."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, taken in zip(ways, seconds, strict=True):
            start_s = time.process_time()
            way()
            taken.append(time.process_time() - start_s)
    return [statistics.median(taken) for taken in seconds]


def child_s(*words: str) -> float:
    """Processor seconds of a Python with these words, the least of three."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


@pytest.mark.parametrize("words", QUICK_HELP)
def test_help_costs_little_more_than_a_python_that_imports_click(words: str) -> None:
    """About 1.3 times; numpy alone would make it 2.5."""
    assert child_s(*words.split(), "--help") < 2.2 * child_s("-c", "import click")


def test_an_episode_costs_little_more_than_the_bare_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """About 0.7 of its steps/s with a policy of 64x64."""
    monkeypatch.setattr(actor, "time", SimpleNamespace(perf_counter=time.process_time))
    _, _, ratio = actor.compare(EnvSpec(LANDER), PolicySpec(), num_episodes=5)
    assert ratio > 0.4


def test_an_update_costs_little_more_than_reading_its_noise() -> None:
    """About 0.5 of a plain read's bytes/s."""
    size, pairs = 166_000, 200
    random = np.random.default_rng(0)
    values = random.standard_normal(10_000_000, dtype=np.float32)
    indices = random.integers(0, len(values) - size, pairs)
    fitness = random.standard_normal(2 * pairs)
    update_s, read_s = in_turns(
        lambda: estimate_gradient(values, indices, fitness, 0.1, size),
        lambda: [values.max() for _ in range(3)],
    )
    assert (size * pairs / update_s) / (3 * len(values) / read_s) > 0.2


def test_a_noise_table_that_is_there_is_had_at_once(tmp_path: Path) -> None:
    """Building takes about a hundred times as long as mapping."""
    with open_table(1, 4_000_000, tmp_path):

        def build() -> None:
            with open_table(2, 4_000_000, tmp_path):
                pass  # nobody uses it afterwards: it is built anew each time

        def find() -> None:
            with open_table(1, 4_000_000, tmp_path):
                pass

        built_s, found_s = in_turns(build, find)
    assert built_s > 10 * found_s


@pytest.mark.slow
@pytest.mark.timeout(400)  # beside other work; alone it takes 15 s
def test_the_whole_system_costs_little_more_than_the_bare_environment() -> None:
    """About 0.76 of its steps/s on all cores, Redis, workers and head included."""
    rates = rollouts.measure(LANDER, rounds=3, seconds=1.0, cores=num_cores())
    assert rollouts.ratio(rates, rollouts.BARE) > 0.4
