"""One pure function: a generation in, its metrics by name out; and the table that explains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.messages import RecordBatch, RolloutRecord
from search.open_generation import OpenGeneration
from search.protocol import PoolStatus
from search.totals import Totals


class Metric(NamedTuple):
    """A row of the table: unit, meaning, and the name in the system this one replaces."""

    unit: str
    meaning: str
    older_name: str = ""


METRICS: dict[str, Metric] = {
    "fitness/current": Metric(
        "reward",
        "mean fitness of theta over its validation episodes, on seeds of their own",
        "current fitness",
    ),
    "fitness/current_se": Metric("reward", "its standard error over episodes"),
    "fitness/mean": Metric("reward", "mean fitness of the candidates", "mean fitness"),
    "fitness/mean_se": Metric("reward", "its standard error over candidates"),
    "fitness/best": Metric("reward", "best candidate of the generation", "best fitness"),
    "fitness/best_overall": Metric(
        "reward", "best candidate of the run so far", "overall best fitness"
    ),
    "fitness/std": Metric("reward", "standard deviation over candidates", "fitness st.dev"),
    "fitness/success_rate": Metric(
        "1", "share of candidates better than theta (there capped at 0.5)", "success rate"
    ),
    "fitness/reward_per_step": Metric("reward/step", "training rewards over simulator steps"),
    "episode/length_mean": Metric("steps", "mean length of an episode", "mean episode length"),
    "episode/steps_per_candidate": Metric(
        "steps", "mean simulator steps for one candidate", "mean steps per eval"
    ),
    "episode/distance_m": Metric("m", "mean of how far forward episodes end, where envs say"),
    "theta/norm": Metric("1", "Euclidean norm of theta", "norm"),
    "theta/size": Metric("1", "number of parameters D", "genome length"),
    "update/grad_norm": Metric("1", "norm of the gradient that was followed", "grad norm"),
    "update/ratio": Metric("1", "norm of the step over the norm of theta", "update ratio"),
    "search/step_size": Metric(
        "1", "size of the next steps: CMA's sigma, or the geometric mean of those learnt"
    ),
    "search/axis_ratio": Metric("1", "longest over shortest axis of what is searched"),
    "search/restarts": Metric("1", "how often CMA has begun anew; with restarts only"),
    "time/elapsed_s": Metric("s", "time in the run so far, all sessions", "total time elapsed"),
    "time/generation_s": Metric("s", "from publishing to the last record", "time per gen"),
    "time/update_s": Metric("s", "the search learning from it"),
    "time/evaluation_s": Metric("s", "worker time per rollout", "time_to_eval"),
    "time/obtaining_s": Metric("s", "worker waiting per rollout for its task", "time_to_obtain"),
    "rate/env_steps_per_s": Metric("steps/s", "simulator steps over generation time"),
    "work/generation": Metric("1", "number of the generation", "gen"),
    "work/env_steps": Metric("steps", "simulator steps of the generation"),
    "work/env_steps_total": Metric("steps", "simulator steps of the run", "total sim steps"),
    "work/rollouts_total": Metric("1", "rollouts of the run", "total fitness evals"),
    "work/reissued_total": Metric("1", "copies of rollouts handed out again"),
    "work/lost_total": Metric("1", "copies whose worker died"),
    "failures/skipped": Metric(
        "1", "share of training rollouts without a fitness (there inverted)", "results skipped"
    ),
    "failures/failed": Metric("1", "failed rollouts of the generation"),
    "failures/failed_total": Metric("1", "failed rollouts of the run"),
    "failures/host_failures_total": Metric(
        "1", "failures that another machine might not have had; 0: reproducible to the bit"
    ),
    "fleet/audited": Metric(
        "1", "rollouts compared between machines in this session; with audit_fraction only"
    ),
    "fleet/disagreed": Metric("1", "those of them in which machines differ: look for the notice"),
    "fleet/unaudited": Metric("1", "rollouts to compare that one machine alone could answer"),
    "workers/now": Metric("1", "workers the pool sees"),
    "workers/machines": Metric("1", "machines that they are on"),
    "workers/utilisation": Metric("1", "share of the workers' time that went into rollouts"),
    "workers/unique": Metric("1", "workers with an accepted record", "num unique workers"),
    "workers/uses_mean": Metric("1", "mean batches of records per worker", "worker used times"),
}
"""Every metric by name; besides these, ``reward/<term>`` for each reward term an env names."""


def generation_metrics(
    opened: OpenGeneration,
    *,
    update: Mapping[str, float],
    totals: Totals,
    status: PoolStatus,
    generation_s: float,
    update_s: float,
) -> dict[str, float]:
    """All metrics of a complete generation that have a value in it.

    Args:
        opened: the generation with its records.
        update: what the strategy's ``tell`` said.
        totals: the run's totals after this generation.
        status: the pool's.
        generation_s: seconds from publishing to the last record.
        update_s: seconds that the search took to learn from it.
    """
    theta = opened.generation.candidates.theta
    metrics = {
        "work/generation": float(totals.generations - 1),
        "theta/norm": float(np.linalg.norm(theta)),
        "theta/size": float(len(theta)),
        **update,
        **_fitness(opened),
        **_episodes(opened.training, opened.generation.num_episodes),
        **_workers(opened.batches, opened.num_done),
        **_work(opened, totals, status),
        **_audits(status),
        "time/elapsed_s": totals.wall_s,
        "time/generation_s": generation_s,
        "time/update_s": update_s,
    }
    if generation_s > 0:
        metrics["rate/env_steps_per_s"] = metrics["work/env_steps"] / generation_s
    if totals.best_candidate is not None:
        metrics["fitness/best_overall"] = totals.best_candidate
    return metrics


def _fitness(opened: OpenGeneration) -> dict[str, float]:
    metrics: dict[str, float] = {}
    fitness_c = opened.candidate_means_c()
    if len(fitness_c):
        metrics["fitness/mean"] = float(fitness_c.mean())
        metrics["fitness/best"] = float(fitness_c.max())
        metrics["fitness/std"] = float(fitness_c.std())
        metrics["fitness/mean_se"] = _standard_error(fitness_c)
    validation_v = opened.validation_v()
    if len(validation_v):
        metrics["fitness/current"] = float(validation_v.mean())
        metrics["fitness/current_se"] = _standard_error(validation_v)
        if len(fitness_c):
            metrics["fitness/success_rate"] = float((fitness_c > validation_v.mean()).mean())
    return metrics


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _episodes(training: Sequence[RolloutRecord], num_episodes: int) -> dict[str, float]:
    scored = [record for record in training if record.status == "ok"]
    steps = sum(record.length for record in scored)
    if not steps:
        return {}
    metrics = {
        "episode/length_mean": steps / len(scored),
        "episode/steps_per_candidate": steps / len(scored) * num_episodes,
        "fitness/reward_per_step": sum(record.fitness for record in scored) / steps,
    }
    distances = [record.distance_m for record in scored if record.distance_m is not None]
    if distances:
        metrics["episode/distance_m"] = float(np.mean(distances))
    for term in sorted({name for record in scored for name in record.terms}):
        metrics[f"reward/{term}"] = float(np.mean([r.terms.get(term, 0.0) for r in scored]))
    return metrics


def _workers(batches: Sequence[RecordBatch], num_rollouts: int) -> dict[str, float]:
    uses = Counter(batch.worker for batch in batches)
    if not uses:
        return {}
    busy_s = sum(batch.evaluation_s for batch in batches)
    waiting_s = sum(batch.obtaining_s for batch in batches)
    return {
        "workers/unique": float(len(uses)),
        "workers/uses_mean": len(batches) / len(uses),
        "workers/utilisation": busy_s / (busy_s + waiting_s) if busy_s > 0 else 0.0,
        "time/evaluation_s": busy_s / num_rollouts,
        "time/obtaining_s": waiting_s / num_rollouts,
    }


def _work(opened: OpenGeneration, totals: Totals, status: PoolStatus) -> dict[str, float]:
    failed = sum(record.status == "failed" for record in opened.records)
    skipped = len(opened.failures) / max(1, opened.generation.num_training)
    return {
        "work/env_steps": float(sum(record.length for record in opened.records)),
        "work/env_steps_total": float(totals.env_steps),
        "work/rollouts_total": float(totals.rollouts),
        "work/reissued_total": float(totals.reissued),
        "work/lost_total": float(totals.lost),
        "failures/skipped": skipped,
        "failures/failed": float(failed),
        "failures/failed_total": float(totals.failed),
        "failures/host_failures_total": float(totals.host_failures),
        "workers/now": float(status.num_workers),
        "workers/machines": float(status.num_machines),
    }


def _audits(status: PoolStatus) -> dict[str, float]:
    if not status.audit_fraction:
        return {}
    return {
        "fleet/audited": float(status.audited),
        "fleet/disagreed": float(status.disagreed),
        "fleet/unaudited": float(status.unaudited),
    }


def metrics_page() -> str:
    """The table of all metrics in Markdown: ``python -m search.metrics > docs/metrics.md``."""
    rows = [
        f"| `{name}` | {metric.unit} | {metric.meaning} | {metric.older_name} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join([*_PAGE_HEAD, *rows, ""])


_PAGE_HEAD = (
    "# Metrics",
    "",
    "Written for every generation to `metrics.jsonl`, TensorBoard, Sacred and, if there is one,",
    "MongoDB. A unit of 1 is a plain number; what ends in `_total` counts from the run's",
    "beginning, resumed or not. A metric without a value in a generation (nothing validated, no",
    "gradient) is left out of it. The last column is the name in the system this one replaces.",
    "Besides these, `reward/<term>`: mean sum over an episode of each reward term that an",
    "environment names.",
    "",
    "Where a generation's time went is not a metric but a line of `timeline.jsonl`: when it was",
    "published, complete and told, how long each worker computed and waited, and what failed of",
    "what; see `search/timeline.py`, and `python -m tracking.report` for a picture of it.",
    "",
    "This page is made by `python -m search.metrics > docs/metrics.md`.",
    "",
    "| metric | unit | meaning | older name |",
    "| --- | --- | --- | --- |",
)


if __name__ == "__main__":
    print(metrics_page(), end="")
