"""What every strategy promises to the loop. A new one adds its line to `STRATEGIES`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from errors import RunAborted
from es.openai_es import OpenAIES
from nevergrad_es.nevergrad_strategy import NevergradStrategy
from nevergrad_es.tools import find_tool
from search.candidates import write_candidate
from search.messages import (
    MESSAGE_VERSION,
    Generation,
    Genomes,
    Perturbations,
    SeedRule,
    decode,
    encode,
)
from search.noise import DEFAULT_LENGTH, NoiseTable, open_table
from search.protocol import Strategy

D = 8
THETA0 = np.linspace(-1.0, 1.5, D).astype(np.float32)
RUN_SEED = 5

Make = Callable[[NoiseTable, int], Strategy]


def nevergrads(tool: str, **settings: Any) -> Make:
    """One that draws from no table."""
    return lambda noise, seed: NevergradStrategy(
        THETA0,
        lambda budget: find_tool(tool, {}, THETA0, budget=budget),
        run_seed=seed,
        pop_size=12,
        sigma=0.3,
        budget=480,
        **settings,
    )


STRATEGIES: dict[str, Make] = {
    "openai_es": lambda noise, seed: OpenAIES(
        THETA0, noise, run_seed=seed, pop_size=12, sigma=0.1, lr=0.05, l2coeff=0.005
    ),
    "openai_es_sigmas": lambda noise, seed: OpenAIES(
        THETA0, noise, run_seed=seed, pop_size=12, sigma=0.1, sigma_lr=0.4, lr=0.05
    ),
    "cma": nevergrads("CMA"),
    "cma_ipop": nevergrads("CMA", restarts="ipop"),
    "nevergrad_de": nevergrads("DE"),
    "nevergrad_pso": nevergrads("PSO"),
    "nevergrad_one_plus_one": nevergrads("OnePlusOne"),
}


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoiseTable]:
    with open_table(11, DEFAULT_LENGTH, tmp_path_factory.mktemp("noise")) as table:
        yield table


@pytest.fixture(params=sorted(STRATEGIES))
def make(request: pytest.FixtureRequest, noise: NoiseTable) -> Iterator[Callable[..., Strategy]]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda seed=RUN_SEED: STRATEGIES[request.param](noise, seed)
    torch.set_num_threads(before)


def message(candidates: Perturbations | Genomes) -> bytes:
    """The candidates as the loop would send them."""
    return encode(Generation(MESSAGE_VERSION, "0" * 32, 0, candidates, 1, 0, SeedRule(RUN_SEED)))


def sphere(candidates: Perturbations | Genomes, noise: NoiseTable) -> np.ndarray:
    """-|x|^2 of every candidate, ``(C, 2)``: two equal episodes."""
    out = np.empty(D, dtype=np.float32)
    fitness_ce = np.empty((candidates.num_candidates, 2))
    for c in range(candidates.num_candidates):
        write_candidate(candidates, c, noise, out)
        fitness_ce[c] = -np.square(out, dtype=np.float64).sum()
    return fitness_ce


def advance(strategy: Strategy, noise: NoiseTable, first: int, stop: int) -> None:
    for generation in range(first, stop):
        strategy.tell(generation, sphere(strategy.ask(generation), noise))


def test_theta_is_a_finite_float32_vector_that_callers_cannot_spoil(
    make: Callable[..., Strategy],
) -> None:
    strategy = make()
    theta = strategy.theta
    assert theta.dtype == np.float32
    assert theta.shape == (D,)
    assert np.isfinite(theta).all()
    if theta.flags.writeable:
        theta[:] = 99
    assert not (strategy.theta == 99).any()


def test_what_is_asked_is_a_message_that_arrives(make: Callable[..., Strategy]) -> None:
    strategy = make()
    candidates = strategy.ask(0)
    assert candidates.num_candidates >= 1
    assert np.array_equal(candidates.theta, strategy.theta)
    assert decode(message(candidates), Generation).candidates == candidates


def test_asking_twice_gives_the_same_and_changes_nothing(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    asked, quiet = make(), make()
    assert message(asked.ask(0)) == message(asked.ask(0))
    advance(asked, noise, 0, 2)
    for generation in range(2):
        fitness = sphere(quiet.ask(generation), noise)
        quiet.tell(generation, fitness)
    assert message(asked.ask(2)) == message(quiet.ask(2))


def test_generations_differ_and_so_do_runs(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    strategy = make()
    first = message(strategy.ask(0))
    assert message(make(RUN_SEED + 1).ask(0)) != first
    advance(strategy, noise, 0, 1)
    assert message(strategy.ask(1)) != first


def test_it_climbs(make: Callable[..., Strategy], noise: NoiseTable) -> None:
    strategy = make()
    advance(strategy, noise, 0, 40)
    assert np.square(strategy.theta).sum() < 0.25 * np.square(THETA0).sum()


def test_restored_midway_it_equals_one_that_never_stopped(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    steady, stopped = make(), make()
    advance(steady, noise, 0, 6)
    advance(stopped, noise, 0, 3)
    state = stopped.state()
    advance(stopped, noise, 3, 4)  # must not reach the state already taken
    resumed = make()
    resumed.restore(state)
    assert resumed.theta.dtype == np.float32
    advance(resumed, noise, 3, 6)
    assert resumed.theta.tobytes() == steady.theta.tobytes()
    assert message(resumed.ask(6)) == message(steady.ask(6))


def test_a_state_taken_before_the_first_tell_restores_too(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    strategy, resumed = make(), make()
    resumed.restore(make().state())
    advance(strategy, noise, 0, 2)
    advance(resumed, noise, 0, 2)
    assert resumed.theta.tobytes() == strategy.theta.tobytes()


def test_the_state_is_numbers_strings_and_arrays_of_numbers(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    strategy = make()
    advance(strategy, noise, 0, 1)
    for name, value in strategy.state().items():
        assert isinstance(name, str)
        assert isinstance(value, (int, float, str, np.ndarray)), name
        if isinstance(value, np.ndarray):
            assert value.dtype.kind in "fiub", name


def test_tell_returns_finite_figures_under_grouped_names(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    strategy = make()
    figures = strategy.tell(0, sphere(strategy.ask(0), noise))
    for name, value in figures.items():
        assert "/" in name
        assert isinstance(value, float)
        assert math.isfinite(value), name


def test_failed_rollouts_are_lived_with(make: Callable[..., Strategy], noise: NoiseTable) -> None:
    strategy = make()
    fitness = sphere(strategy.ask(0), noise)
    fitness[0, 0] = fitness[2] = np.nan
    before = fitness.copy()
    strategy.tell(0, fitness)
    assert np.isfinite(strategy.theta).all()
    assert np.array_equal(fitness, before, equal_nan=True)


def test_a_generation_without_finite_fitness_ends_the_run(make: Callable[..., Strategy]) -> None:
    strategy = make()
    fitness = np.full((strategy.ask(0).num_candidates, 1), np.nan)
    with pytest.raises(RunAborted):
        strategy.tell(0, fitness)


def test_fitness_of_the_wrong_shape_is_refused(make: Callable[..., Strategy]) -> None:
    strategy = make()
    count = strategy.ask(0).num_candidates
    for shape in ((count + 1, 1), (count,)):
        with pytest.raises(ValueError, match="shape"):
            strategy.tell(0, np.zeros(shape))


def test_open_generations_up_to_its_overlap_do_not_disturb_it(
    make: Callable[..., Strategy], noise: NoiseTable
) -> None:
    ahead = min(make().max_overlap, 3)
    overlapped, reference = make(), make()
    waiting = [sphere(overlapped.ask(generation), noise) for generation in range(ahead + 1)]
    for generation in range(3):
        fitness = waiting.pop(0)
        overlapped.tell(generation, fitness)
        waiting.append(sphere(overlapped.ask(generation + ahead + 1), noise))
        reference.ask(generation)
        reference.tell(generation, fitness)
        assert overlapped.theta.tobytes() == reference.theta.tobytes()
