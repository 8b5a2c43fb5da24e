"""A tool by its name: most run, the others say in one line why they cannot."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nevergrad_searches import advance, search, start

from errors import ConfigError, RunAborted
from nevergrad_es.tools import find_tool, tool_names
from search.configs import NAMED_CONFIGS
from search.journal import Journal
from search.run_config import parse_config
from training.session import Training


class _Heard:
    """A recorder that keeps the figures."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def generation(self, number: int, metrics: dict[str, float]) -> None:
        self.metrics.append(metrics)

    def progress(self, *_: object) -> None: ...

    def times(self, times: object) -> None:
        pass

    def checkpoint(self, *_: object, **__: object) -> None: ...

    def notice(self, line: str) -> None: ...


@pytest.mark.parametrize(
    "tool", ["NGOpt", "DE", "TwoPointsDE", "OnePlusOne", "DiagonalCMA", "PSO", "CMA"]
)
def test_ten_generations_of_a_run_on_sphere_improve(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)  # for a command's process, not for pytest's
    options = {"tool": tool, "pool": "serial", "pop_size": 16, "sigma": 0.3, "num_generations": 10}
    config = parse_config({**NAMED_CONFIGS["sphere"].options, **options, "seed": 2})
    heard = _Heard()
    with Journal(tmp_path / "journal", heard.notice) as journal:
        outcome, _ = Training(config, run_id=1, journal=journal, recorder=heard).run()
    assert outcome.totals.generations == 10
    fitness = [metrics["fitness/current"] for metrics in heard.metrics]
    assert float(outcome.final_fitness_v.mean()) > fitness[0] + 0.25 * abs(fitness[0])


@pytest.fixture
def threads_end() -> Callable[[], bool]:
    """Whether what this test started is gone, within seconds; other tests' Ray has threads too."""
    before = set(threading.enumerate())

    def ended() -> bool:
        gc.collect()
        deadline_s = time.monotonic() + 10
        while set(threading.enumerate()) - before and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return not set(threading.enumerate()) - before

    return ended


@pytest.mark.parametrize(
    "tool",
    [
        "AlmostRotationInvariantDE",
        "DifferentialEvolution",
        "EDA",
        "HullAvgMetaRecentering",
        "LargeHaltonSearch",
        "MetaModel",
        "NaiveTBPSA",
        "ParametrizedOnePlusOne",
        "RandomSearch",
        "SQOPSO",
        "cGA",
    ],
)
@pytest.mark.parametrize("pop_size", [4, 1])
def test_any_tool_runs_in_silence(
    tool: str, pop_size: int, capfd: pytest.CaptureFixture[str]
) -> None:
    es = search(tool, pop_size=pop_size, budget=4 * pop_size)
    advance(es, 0, 3)
    assert np.isfinite(es.theta).all()
    assert es.ask(3).num_candidates == pop_size
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tool", ["SQP", "Powell", "NelderMead", "ChainMetaModelPowell"])
def test_a_tool_with_a_thread_of_its_own_takes_it_along_when_it_goes(
    tool: str, threads_end: Callable[[], bool]
) -> None:
    es = search(tool, pop_size=1, budget=40)
    advance(es, 0, 30)
    resumed = search(tool, pop_size=1, budget=40)
    resumed.restore(es.state())
    assert resumed.ask(30) == es.ask(30)
    del es, resumed
    assert threads_end()


REFUSED = [
    ("Cobyla", {}, "asks for one candidate at a time: set pop_size=1"),
    ("ChainMetaModelPowell", {}, "asks for one candidate at a time: set pop_size=1"),
    ("BayesOptim", {}, "cannot run here: No module named 'bayes_optim'"),
    ("FCMA", {}, "needs the package fcmaes"),
    ("Chaining", {}, "cannot be made from its name alone"),
    ("Pymoo", {}, "cannot be made from its name alone"),
    ("DiscreteDoerrOnePlusOne", {}, "cannot be had with these settings: Doerr"),
    ("MultiDS", {}, "cannot be had with these settings: integer division"),
    ("DE", {"initialisation": "LHS"}, "initialisation: .*did you mean initialization"),
    ("DE", {"crossover": "threepoints"}, "tool=DE tool_options={'crossover': 'threepoints'}"),
    ("NGOpt", {"scale": 2.0}, "tool=NGOpt has no options"),
    ("TwoPointDE", {}, "no such optimiser; did you mean TwoPointsDE"),
    ("cma", {}, "no such optimiser; did you mean CMA"),
    ("", {}, "no such optimiser"),
    ("ConfiguredOptimizer", {}, "no such optimiser"),
    ("np", {}, "no such optimiser"),
]


@pytest.mark.parametrize(("tool", "options", "message"), REFUSED)
def test_what_cannot_run_says_why_in_one_line_and_leaves_nothing(
    tool: str,
    options: dict[str, Any],
    message: str,
    capfd: pytest.CaptureFixture[str],
    threads_end: Callable[[], bool],
) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        search(tool, pop_size=4, options=options)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("tool")
    del refusal
    assert threads_end()
    assert capfd.readouterr() == ("", "")


def test_a_package_that_is_missed_late_ends_the_run_in_one_line() -> None:
    es = search("NLOPT_LN_BOBYQA", pop_size=1)
    with pytest.raises(RunAborted, match=r"gave no candidates for generation 0.*nlopt") as end:
        es.ask(0)
    assert "\n" not in str(end.value)


def test_candidates_that_are_no_numbers_end_the_run() -> None:
    es = search("AnisotropicAdaptiveDiscreteOnePlusOne", pop_size=4)
    with pytest.raises(RunAborted, match="left the finite numbers"):
        advance(es, 0, 10)


def test_options_of_a_family_reach_it() -> None:
    plain, other = search("DE"), search("DE", options={"F1": 0.1, "crossover": "twopoints"})
    assert plain.ask(0) == other.ask(0)  # the first ones are drawn before any is crossed
    advance(plain, 0, 6)
    advance(other, 0, 6)
    assert plain.ask(6) != other.ask(6)


def test_every_name_is_a_tool_of_nevergrads() -> None:
    names = tool_names()
    assert len(names) > 400
    assert {"CMA", "ParametrizedCMA", "DE", "DifferentialEvolution", "NGOpt", "PSO"} <= set(names)
    assert list(names) == sorted(set(names))


def test_cma_is_pycmas_whatever_nevergrad_calls_so() -> None:
    assert find_tool("CMA", {}, start(6), budget=100).is_cma
    assert not find_tool("NGOpt", {}, start(6), budget=100).is_cma
