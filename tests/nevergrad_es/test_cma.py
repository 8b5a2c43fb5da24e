"""CMA-ES behind Nevergrad: every generation is learnt from, as it was asked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import psutil
import pytest
from nevergrad_searches import advance, candidates, pycma, search, sphere, start
from numpy.typing import NDArray

from errors import ConfigError, RunAborted
from nevergrad_es.tools import FULL_COVARIANCE_UP_TO

FITNESS = {
    "sphere": lambda x: sphere(x)[:, None],
    "ties": lambda x: np.round(sphere(x))[:, None],
    "equal": lambda x: np.ones((len(x), 1)),
    "huge": lambda x: 1e300 * sphere(x)[:, None],
    "infinite": lambda x: np.where(np.arange(len(x)) == 1, np.inf, sphere(x))[:, None],
    "failed": lambda x: np.where(
        np.arange(2 * len(x)).reshape(-1, 2) % 3 == 0, np.nan, sphere(x)[:, None]
    ),
}


@pytest.mark.parametrize("kind", FITNESS)
@pytest.mark.parametrize(
    ("num_parameters", "pop_size"), [(2, 4), (2, 12), (5, 4), (8, 40), (37, 4), (46, 12)]
)
def test_every_generation_is_one_of_cmas_iterations(
    num_parameters: int, pop_size: int, kind: str
) -> None:
    for diagonal in (False, True):
        es = search(
            num_parameters=num_parameters, pop_size=pop_size, options={"diagonal": diagonal}
        )
        for generation in range(3):
            es.tell(generation, FITNESS[kind](candidates(es, generation)))
        assert pycma(es).countiter == 3
        assert pycma(es).countevals == 3 * pop_size
        assert np.isfinite(es.theta).all()


@pytest.mark.parametrize("num_parameters", [100, 300])
@pytest.mark.parametrize("diagonal", [False, True])
def test_so_it_is_where_there_are_many_parameters(num_parameters: int, diagonal: bool) -> None:
    es = search(num_parameters=num_parameters, pop_size=12, options={"diagonal": diagonal})
    advance(es, 0, 6)
    assert pycma(es).countiter == 6


def test_a_generation_that_cma_refused_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    es = search()
    advance(es, 0, 2)

    def refuse(*_: object) -> None:
        raise RuntimeError("as pycma does, and Nevergrad does not mind")

    monkeypatch.setattr(pycma(es), "tell", refuse)
    with pytest.raises(RunAborted, match="learnt from 2 generations of 3, not from generation 2"):
        advance(es, 2, 3)


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        ("CMA", {}),
        ("CMA", {"elitist": True}),
        ("DiagonalCMA", {}),
        ("ECMA", {}),
        ("CMAbounded", {}),
        ("ParametrizedCMA", {"diagonal": True, "elitist": True}),
    ],
)
def test_cmas_population_is_the_candidates_of_a_generation(
    tool: str, options: dict[str, Any]
) -> None:
    for pop_size in (2, 3, 7, 40):
        es = search(tool, pop_size=pop_size, options=options)
        advance(es, 0, 3)
        assert pycma(es).popsize == pop_size == es.ask(3).num_candidates
        assert pycma(es).countiter == 3


@pytest.mark.parametrize("bounds", [None, (-50.0, 60.0)])
@pytest.mark.parametrize(("num_parameters", "pop_size"), [(10, 600), (30, 200)])
def test_the_first_generation_is_spread_by_sigma_around_the_start(
    num_parameters: int, pop_size: int, bounds: tuple[float, float] | None
) -> None:
    es = search(num_parameters=num_parameters, pop_size=pop_size, sigma=0.25, bounds=bounds)
    away = candidates(es, 0) - start(num_parameters)
    assert away.std() == pytest.approx(0.25, rel=0.05)
    assert np.abs(away.mean(axis=0)).max() < 5 * 0.25 / np.sqrt(pop_size)
    assert np.array_equal(es.ask(0).theta, start(num_parameters))


def test_candidates_and_theta_stay_within_the_bounds() -> None:
    bounds = (-1.1, 1.6)
    es = search(bounds=bounds, sigma=2.0)
    low, high = np.float32(bounds)
    for generation in range(20):
        matrix = es.ask(generation).matrix_cd
        assert ((low <= matrix) & (matrix <= high)).all()
        es.tell(generation, matrix.sum(axis=1, dtype=np.float64)[:, None])
        assert ((low <= es.theta) & (es.theta <= high)).all()
    assert es.theta.mean() > 1.0  # up to the bound that the best lies at


def test_a_start_on_the_bound_is_within_it() -> None:
    theta0 = np.array([0.1, 0.3], dtype=np.float32)
    assert float(theta0[0]) > 0.1  # as float32 has it
    es = search(theta0=theta0, bounds=(-0.1, 0.3))
    advance(es, 0, 2)
    edge = search(theta0=np.full(2, 0.1, dtype=np.float32), bounds=(-0.1, 0.1))
    advance(edge, 0, 2)


@pytest.mark.parametrize("bounds", [(-0.5, 5.0), (-5.0, 1.2), (2.0, 3.0)])
def test_a_start_out_of_bounds_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"between -1 and 1\.5: widen the bounds") as refusal:
        search(bounds=bounds)
    assert "\n" not in str(refusal.value)


def test_theta_is_the_weighted_mean_of_the_better_half() -> None:
    es = search(sigma=0.25)
    matrix = candidates(es, 0)
    es.tell(0, sphere(matrix)[:, None])
    weights = pycma(es).sp.weights.positive_weights
    best_first = matrix[np.argsort(-sphere(matrix))][: len(weights)]
    assert es.theta == pytest.approx(weights @ best_first, rel=1e-5)


def test_candidates_are_told_in_their_order_and_only_finite_fitness() -> None:
    es = search()
    told: list[tuple[NDArray[np.float64], float]] = []
    es._optimizer.register_callback(
        "tell", lambda _, candidate, loss: told.append((candidate.value, loss))
    )
    matrix = candidates(es, 0)
    fitness_ce = np.stack([sphere(matrix), sphere(matrix) - 1], axis=1)
    fitness_ce[2, 0] = np.nan
    fitness_ce[5] = -np.inf
    es.tell(0, fitness_ce)
    worst = np.nanmin(np.where(np.isfinite(fitness_ce), fitness_ce, np.nan))
    expected = np.where(np.isfinite(fitness_ce), fitness_ce, worst).mean(axis=1)
    assert np.array([x for x, _ in told]) == pytest.approx(matrix, rel=1e-6)
    assert [-loss for _, loss in told] == pytest.approx(expected)


@pytest.mark.parametrize("diagonal", [False, True])
def test_without_restarts_it_goes_on_where_pycma_would_stop(diagonal: bool) -> None:
    es = search(num_parameters=2, pop_size=4, options={"diagonal": diagonal})
    first = pycma(es)
    advance(es, 0, 60, lambda x: np.zeros(len(x)))
    assert type(first).stop(first)  # it says so,
    assert pycma(es) is first  # and Nevergrad has not begun anew
    assert first.countiter == 60


def test_what_runs_away_ends_the_run_in_plain_words() -> None:
    es = search(num_parameters=2, sigma=1e30)
    with pytest.raises(RunAborted, match=r"left the finite numbers in generation \d+: use another"):
        advance(es, 0, 100, lambda x: x.sum(axis=1))


def test_warnings_of_nevergrads_are_not_for_people() -> None:
    """That bounds are near, that fitness is huge: it has been decided, or is of no consequence."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        es = search(pop_size=4, bounds=(-1.0, 1.5))
        for generation in range(4):
            es.tell(generation, FITNESS["huge"](candidates(es, generation)))
    assert not heard


def test_one_parameter_is_too_few() -> None:
    with pytest.raises(ConfigError, match=r"tool=CMA needs two parameters or more.*OnePlusOne"):
        search(num_parameters=1)


@pytest.mark.parametrize("pop_size", [1])
def test_one_candidate_is_too_few(pop_size: int) -> None:
    with pytest.raises(ConfigError, match="it needs a pop_size of 2 at least, not 1"):
        search(pop_size=pop_size)


def test_many_parameters_have_the_diagonal_alone_and_it_is_said_once() -> None:
    said: list[str] = []
    es = search(num_parameters=5000, pop_size=40, notice=said.append)
    advance(es, 0, 2)
    assert pycma(es).countiter == 2
    assert pycma(es).opts["CMA_diagonal"] is True
    resumed = search(num_parameters=5000, pop_size=40)
    resumed.restore(es.state())
    assert resumed.theta.tobytes() == es.theta.tobytes()
    es.restore(es.state())
    assert len(said) == 1
    assert "learns the diagonal only" in said[0]
    assert "tool=openai_es" in said[0]


def test_up_to_the_stated_number_of_parameters_the_matrix_is_whole() -> None:
    said: list[str] = []
    whole = search(num_parameters=FULL_COVARIANCE_UP_TO, pop_size=4, notice=said.append)
    assert pycma(whole).opts["CMA_diagonal"] is not True
    search("DiagonalCMA", num_parameters=5000, pop_size=4, notice=said.append)
    search(num_parameters=300, pop_size=4, options={"diagonal": True}, notice=said.append)
    assert not said
    es = search(num_parameters=300, pop_size=4)
    advance(es, 0, 1)
    assert pycma(es).sm.C.shape == (300, 300)


def test_a_matrix_that_does_not_fit_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match=r"of 2000000 parameters needs .* GiB, .* are free") as no:
        search(num_parameters=2_000_000, options={"diagonal": False})
    assert "\n" not in str(no.value)
    memory = psutil.virtual_memory()._replace(available=500 * 2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(ConfigError, match=r"leave tool_options\.diagonal out, or use tool="):
        search(num_parameters=4000, options={"diagonal": False})
    es = search(num_parameters=1500, pop_size=4, options={"diagonal": False})
    assert pycma(es).opts["CMA_diagonal"] is not True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"popsize": 8}, "set its population by pop_size"),
        ({"popsize_factor": 2.0}, "set its population by pop_size"),
        ({"inopts": "x"}, "leave out inopts"),
        ({"fcmaes": True}, "needs the package fcmaes"),
        ({"scale": "wide"}, "tool=CMA cannot be had with these settings"),
        ({"diagnoal": True}, "tool_options.diagnoal: tool=CMA has no such option.*diagonal"),
    ],
)
def test_an_option_that_cannot_be_had_is_refused(options: dict[str, Any], message: str) -> None:
    for bounds in (None, (-2.0, 2.0)):
        with pytest.raises(ConfigError, match=message) as refusal:
            search(options=options, bounds=bounds)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pop_size": 0}, "pop_size=0: expected at least 1"),
        ({"sigma": 0.0}, "sigma=0.0: expected more than 0"),
        ({"sigma": float("nan")}, "sigma=nan: expected more than 0"),
        ({"theta0": np.array([0.0, np.nan], dtype=np.float32)}, "finite"),
        ({"theta0": np.zeros((2, 2), dtype=np.float32)}, "vector"),
    ],
)
def test_a_setting_that_cannot_work_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(**wrong)
