"""What is made of a search's settings where they depend on how the run begins."""

from __future__ import annotations

import numpy as np
import pytest

from policy.statistics import ObservationStatistics
from search.run_config import RunConfig
from training.beginning import Beginning
from training.strategies import make_strategy


@pytest.mark.parametrize(
    ("is_deterministic", "normalizes", "believes_best"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
def test_the_best_candidate_is_believed_only_where_its_fitness_goes_on_to_hold(
    is_deterministic: bool, normalizes: bool, believes_best: bool
) -> None:
    """With moments that move on, the same parameters do something else in the next generation."""
    statistics = ObservationStatistics.empty(3) if normalizes else None
    beginning = Beginning(np.zeros(4, dtype=np.float32), statistics, None, None, is_deterministic)
    config = RunConfig(tool="CMA", pop_size=6, normalize_observations=normalizes)
    search = make_strategy(config, beginning, None, lambda line: None)
    matrix_cd = search.ask(0).matrix_cd
    search.tell(0, -np.square(matrix_cd.astype(np.float64)).sum(axis=1)[:, None])
    best = matrix_cd[np.square(matrix_cd).sum(axis=1).argmin()]
    assert np.array_equal(search.theta, best) is believes_best
