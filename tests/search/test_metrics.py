"""Metrics say what their table says, and the table says what the page says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.messages import (
    MESSAGE_VERSION,
    Generation,
    Genomes,
    RecordBatch,
    RolloutRecord,
    SeedRule,
)
from search.metrics import METRICS, generation_metrics, metrics_page
from search.open_generation import OpenGeneration
from search.protocol import PoolStatus
from search.totals import Totals, totals_after

UID = "cd" * 16
AUDITED = PoolStatus(num_workers=2, audit_fraction=0.1, audited=9, disagreed=2, unaudited=1)


def complete() -> OpenGeneration:
    """Two candidates of two episodes, one of which failed, and two validation episodes."""
    theta = np.array([3.0, 4.0], dtype=np.float32)
    candidates = Genomes.of(theta, np.zeros((2, 2), dtype=np.float32))
    opened = OpenGeneration(Generation(MESSAGE_VERSION, UID, 5, candidates, 2, 2, SeedRule(1)))
    records = [
        RolloutRecord(0, 0, "ok", fitness=1.0, length=10, terms={"effort": -1.0}, distance_m=1.0),
        RolloutRecord(1, 0, "ok", fitness=3.0, length=20, terms={"effort": -2.0}, distance_m=4.0),
        RolloutRecord(2, 0, "ok", fitness=5.0, length=30),
        RolloutRecord(3, 1, "failed", error="fell through the floor"),
        RolloutRecord(4, 0, "ok", fitness=4.0, length=5),
        RolloutRecord(5, 0, "ok", fitness=2.0, length=5),
    ]
    for worker, part in (("a", records[:2]), ("a", records[2:4]), ("b", records[4:])):
        opened.add(
            RecordBatch(
                MESSAGE_VERSION,
                UID,
                5,
                opened.digest,
                worker,
                tuple(part),
                evaluation_s=3.0,
                obtaining_s=1.0,
            )
        )
    return opened


@pytest.fixture
def metrics() -> dict[str, float]:
    opened = complete()
    totals = totals_after(Totals(generations=5), opened, reissued=7, lost=1, wall_s=60.0)
    update = {"update/grad_norm": 2.0, "update/ratio": 0.1, "theta/norm": 5.0}
    return generation_metrics(
        opened, update=update, totals=totals, status=AUDITED, generation_s=2.0, update_s=0.25
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("work/generation", 5),
        ("fitness/current", 3.0),
        ("fitness/current_se", 1.0),
        ("fitness/mean", 3.5),
        ("fitness/best", 5.0),
        ("fitness/best_overall", 5.0),
        ("fitness/std", 1.5),
        ("fitness/success_rate", 0.5),
        ("fitness/reward_per_step", 9 / 60),
        ("episode/length_mean", 20.0),
        ("episode/distance_m", 2.5),
        ("episode/steps_per_candidate", 40.0),
        ("theta/size", 2),
        ("theta/norm", 5.0),
        ("time/evaluation_s", 1.5),
        ("time/obtaining_s", 0.5),
        ("rate/env_steps_per_s", 35.0),
        ("time/update_s", 0.25),
        ("workers/utilisation", 0.75),
        ("workers/machines", 1),
        ("work/env_steps", 70),
        ("work/rollouts_total", 6),
        ("work/reissued_total", 7),
        ("failures/skipped", 0.25),
        ("failures/failed", 1),
        ("fleet/audited", 9),
        ("fleet/disagreed", 2),
        ("fleet/unaudited", 1),
        ("workers/unique", 2),
        ("workers/uses_mean", 1.5),
        ("reward/effort", -1.0),
    ],
)
def test_each_metric_is_what_its_name_says(
    metrics: dict[str, float], name: str, value: float
) -> None:
    assert metrics[name] == pytest.approx(value)


def test_every_metric_is_in_the_table(metrics: dict[str, float]) -> None:
    ours = {name for name in METRICS if not name.startswith("search/")}  # a strategy says those
    assert {name for name in metrics if not name.startswith("reward/")} == ours


def test_the_page_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text() == metrics_page(), "run `python -m search.metrics > docs/metrics.md`"


def test_every_metric_of_the_system_before_has_its_place() -> None:
    older = {metric.older_name for metric in METRICS.values()}
    assert older == {
        "",
        *("gen", "total time elapsed", "time per gen", "total sim steps", "total fitness evals"),
        *("mean episode length", "mean steps per eval", "current fitness", "mean fitness"),
        *("best fitness", "overall best fitness", "fitness st.dev", "norm", "genome length"),
        *("success rate", "grad norm", "update ratio", "results skipped", "num unique workers"),
        *("worker used times", "time_to_eval", "time_to_obtain"),
    }


def test_a_run_without_audits_has_no_metrics_of_them() -> None:
    opened = complete()
    totals = totals_after(Totals(), opened, reissued=0, lost=0, wall_s=1.0)
    metrics = generation_metrics(
        opened,
        update={},
        totals=totals,
        status=PoolStatus(num_workers=2),
        generation_s=2.0,
        update_s=0.25,
    )
    assert not [name for name in metrics if name.startswith("fleet/")]
