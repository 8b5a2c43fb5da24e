"""Stopped anywhere and begun anew from its state, a search equals one that never stopped."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from nevergrad_searches import advance, candidates, pycma, search, sphere, start
from numpy.typing import NDArray

from errors import RunAborted, RunError
from nevergrad_es.nevergrad_strategy import NevergradStrategy
from search.journal import StoredArray

TOOLS: dict[str, dict[str, Any]] = {
    "CMA": {},
    "CMA diagonal": {"options": {"diagonal": True}},
    "CMA bounded": {"bounds": (-1.5, 1.5)},
    "CMA ipop": {"restarts": "ipop", "num_parameters": 2, "pop_size": 4, "sigma": 0.01},
    "CMA bipop": {"restarts": "bipop", "num_parameters": 2, "pop_size": 4, "sigma": 0.01},
    "DE": {},
    "PSO": {},
    "OnePlusOne": {},
    "NGOpt": {},
    "LhsDE": {},  # these two draw from numpy's global generator
    "MetaModelLogNormal": {},
}


def made(tool: str, **changed: Any) -> NevergradStrategy:
    return search(tool.split()[0], **(TOOLS[tool] | {"budget": 60} | changed))


def terraces(matrix_cd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rough enough for CMA to stagnate, and some of it fails."""
    fitness = np.round(4 * sphere(matrix_cd)) / 4
    fitness[: len(fitness) // 3] = np.nan
    return fitness


def written_and_read(strategy: NevergradStrategy) -> dict[str, Any]:
    """Its state as a snapshot on disk gives it back."""
    state = strategy.state()
    arrays = {k: StoredArray.of(v) for k, v in state.items() if isinstance(v, np.ndarray)}
    numbers = {k: v for k, v in state.items() if k not in arrays}
    data = msgspec.msgpack.encode((numbers, arrays))
    numbers, arrays = msgspec.msgpack.decode(
        data, type=tuple[dict[str, int], dict[str, StoredArray]]
    )
    return {**numbers, **{name: stored.array() for name, stored in arrays.items()}}


@pytest.mark.parametrize("tool", TOOLS)
@examples(max_examples=4)
@given(stops=st.sets(st.integers(0, 5), max_size=3))
def test_a_stop_after_any_generation_changes_no_bit(tool: str, stops: set[int]) -> None:
    steady, stopped = made(tool), made(tool)
    for generation in range(6):
        if generation in stops:
            state = written_and_read(stopped)
            stopped = made(tool)
            stopped.restore(state)
        assert stopped.ask(generation) == steady.ask(generation)
        advance(steady, generation, generation + 1, terraces)
        advance(stopped, generation, generation + 1, terraces)
        assert stopped.theta.tobytes() == steady.theta.tobytes()


@pytest.mark.parametrize("tool", ["CMA", "CMA bounded", "DE", "PSO", "OnePlusOne", "NGOpt"])
@examples(max_examples=4)
@given(data=st.data())
def test_so_it_is_where_candidates_are_told_one_by_one_in_any_order(
    tool: str, data: st.DataObject
) -> None:
    """Several open, the first to be told one that failed perhaps, and stopped anywhere."""
    steady = made(tool, asynchronous=True, pop_size=5)
    stopped = made(tool, asynchronous=True, pop_size=5)
    asked, waiting = 0, dict[int, NDArray[np.float64]]()
    for _ in range(16):
        while len(waiting) < 5 and asked < 16:
            waiting[asked] = candidates(steady, asked)
            assert stopped.ask(asked) == steady.ask(asked)
            asked += 1
        if not data.draw(st.integers(0, 9), "stop"):
            state = written_and_read(stopped)
            stopped = made(tool, asynchronous=True, pop_size=5)
            stopped.restore(state)
        generation = data.draw(st.sampled_from(sorted(waiting)), "told")
        fitness = sphere(waiting.pop(generation))[:, None]
        if not data.draw(st.integers(0, 5), "failed"):
            fitness[:] = np.nan
        steady.tell(generation, fitness)
        stopped.tell(generation, fitness)
        assert stopped.theta.tobytes() == steady.theta.tobytes()
    assert stopped.ask(16) == steady.ask(16)


def test_told_one_by_one_cma_learns_from_each_population() -> None:
    es = search(asynchronous=True, pop_size=6)
    order = random.Random(5)
    waiting: dict[int, NDArray[np.float64]] = {}
    for number in range(120):
        waiting[number] = candidates(es, number)
        if len(waiting) == 6:
            generation = order.choice(sorted(waiting))
            es.tell(generation, sphere(waiting.pop(generation))[:, None])
    for generation, matrix in waiting.items():  # the last ones: nothing is asked in between
        es.tell(generation, sphere(matrix)[:, None])
    assert pycma(es).countiter == 120 // 6
    assert np.square(es.theta).sum() < 0.1 * np.square(start(6)).sum()


def test_a_first_candidate_that_failed_counts_for_nothing_and_a_later_one_as_the_worst() -> None:
    es = search(asynchronous=True)
    told: list[float] = []
    es._optimizer.register_callback("tell", lambda _, __, loss: told.append(loss))
    for generation, fitness in enumerate([np.nan, -3.0, -7.0, np.nan, -1.0]):
        es.ask(generation)
        es.tell(generation, np.array([[fitness]]))
    assert told == [3.0, 7.0, 7.0, 1.0]


@pytest.mark.parametrize("tool", ["OnePlusOne", "Powell"])
def test_a_tool_for_one_at_a_time_outlives_any_failure_but_the_first(tool: str) -> None:
    """Powell's thread would wait for ever for what became of it."""
    es = search(tool, pop_size=1)
    es.ask(0)
    with pytest.raises(RunAborted, match="its first one failed: begin with another seed"):
        es.tell(0, np.array([[np.nan]]))
    es = search(tool, pop_size=1)
    for generation in range(60):
        fitness_c = sphere(candidates(es, generation))
        fitness = np.nan if generation in (1, 7, 20) else float(fitness_c[0])
        es.tell(generation, np.array([[fitness]]))
    assert es.state()["asked"] == 60


def test_the_budget_is_the_one_that_the_search_began_with() -> None:
    """NGOpt is another method for another budget: a resumed run may have more generations."""
    few, many = made("NGOpt", budget=24), made("NGOpt", budget=10_000)
    advance(few, 0, 2)
    many.restore(few.state())
    assert many.state()["budget"] == 24
    advance(few, 2, 4)
    advance(many, 2, 4)
    assert many.theta.tobytes() == few.theta.tobytes()
    afresh = made("NGOpt", budget=10_000)
    advance(afresh, 0, 4)
    assert afresh.theta.tobytes() != few.theta.tobytes()


def test_a_state_that_leads_elsewhere_here_is_refused() -> None:
    es = search()
    advance(es, 0, 2)
    state = es.state()
    with pytest.raises(RunError, match="comes out otherwise here") as refusal:
        search(run_seed=4).restore(state)
    assert "\n" not in str(refusal.value)


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    kept = np.random.get_state(), random.getstate()
    yield
    np.random.set_state(kept[0])
    random.setstate(kept[1])


@pytest.mark.parametrize("tool", ["CMA", "CMA ipop", "DE", "LhsDE", "MetaModelLogNormal"])
def test_nobody_elses_chance_touches_it_and_it_touches_nobody_elses(tool: str) -> None:
    with _global_generators_kept():
        np.random.seed(1)
        random.seed(1)
        expected = [(np.random.random(), random.random()) for _ in range(9)]
        quiet = made(tool)
        advance(quiet, 0, 4)
        np.random.seed(1)
        random.seed(1)
        drawn = [(np.random.random(), random.random())]
        among = made(tool)
        for generation in range(4):
            among.ask(generation)
            drawn.append((np.random.random(), random.random()))
            advance(among, generation, generation + 1)
            drawn.append((np.random.random(), random.random()))
    assert drawn == expected
    assert among.theta.tobytes() == quiet.theta.tobytes()


def test_a_generation_is_told_once_and_only_when_it_was_asked() -> None:
    es = search()
    with pytest.raises(ValueError, match="generation 0 is not open"):
        es.tell(0, np.zeros((8, 1)))
    advance(es, 0, 1)
    with pytest.raises(ValueError, match="generation 0 is not open"):
        es.tell(0, np.zeros((8, 1)))
    with pytest.raises(ValueError, match="generation 0 has been told"):
        es.ask(0)


def test_what_a_tool_runs_into_ends_the_run_in_one_line() -> None:
    """A budget that is used up, say: some tools ask no more than they were made for."""
    es = search("HammersleySearch", budget=16)
    advance(es, 0, 2)
    with pytest.raises(RunAborted, match=r"gave no candidates for generation 2.*Over the") as end:
        es.ask(2)
    assert "\n" not in str(end.value)
