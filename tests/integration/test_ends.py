"""Every run ends for one stated reason, and leaves behind what it should and nothing else."""

from __future__ import annotations

import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from training_process import WORLDS, TrainingProcess, gone, train

from search.metrics import METRICS

SPHERE = ("sphere", "seed=7", "pool=serial")
RESULT_KEYS = {
    "run_id",
    "run_uid",
    "generations",
    "rollouts",
    "env_steps",
    "failed_rollouts",
    "reissued_rollouts",
    "host_failures",
    "fitness_current",
    "fitness_best",
    "wall_s",
    "theta_sha256",
}


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def redis_folders() -> set[Path]:
    return {
        path for base in ("/tmp", tempfile.gettempdir()) for path in Path(base).glob("es-redis-*")
    }


def test_a_run_leaves_its_result_metrics_and_checkpoints(tmp_path: Path) -> None:
    runs, noise = tmp_path / "r", tmp_path / "noise"
    noise.mkdir()
    result = train(
        runs, "sphere", "seed=7", "num_generations=12", "num_serializations=3", "workers=1",
        f"noise_dir={noise}",
    )  # fmt: skip
    assert set(result) >= RESULT_KEYS
    assert len(result["run_uid"]) == 32
    assert (result["run_id"], result["generations"], result["failed_rollouts"]) == (1, 12, 0)
    assert result["rollouts"] == 12 * (20 + 1)
    rows = rows_of(runs / "1")
    assert [row["generation"] for row in rows] == list(range(12))
    # The sphere does not go anywhere, nothing is audited unless one asks for it, and this search
    # has a gradient and nothing to say of steps.
    others = {"fleet/audited", "fleet/disagreed", "fleet/unaudited", "episode/distance_m"}
    others |= {name for name in METRICS if name.startswith("search/")}
    expected = set(METRICS) - others
    assert all(expected <= set(row["metrics"]) for row in rows)
    kept = {path.name for path in (runs / "1" / "checkpoints").glob("*.npz")}
    assert {f"generation_{number:06d}.npz" for number in (0, 4, 8, 12)} <= kept
    best = json.loads((runs / "1" / "checkpoints" / "best.json").read_text())
    assert f"generation_{best['number']:06d}.npz" in kept
    assert list((runs / "1" / "tensorboard").iterdir())
    assert not list(noise.iterdir())


@pytest.mark.parametrize(
    ("end", "reason", "generations"),
    [
        ("target_fitness=-5", "target fitness -5 reached", range(1, 400)),
        ("max_env_steps=100", "100 simulator steps used", range(5, 6)),
        ("max_wall_s=0.5", "0.5 s used", range(1, 400)),
    ],
)
def test_a_run_ends_where_it_was_told_to(
    tmp_path: Path, end: str, reason: str, generations: range
) -> None:
    result = train(tmp_path / "r", *SPHERE, "num_generations=100000", end)
    assert result["ended"] == reason
    assert result["generations"] in generations
    if end.startswith("target"):
        before, at_the_end = [
            row["metrics"]["fitness/current"] for row in rows_of(tmp_path / "r" / "1")[-2:]
        ]
        assert at_the_end >= -5 > before


def test_a_run_that_had_come_to_its_end_says_what_to_raise(tmp_path: Path) -> None:
    train(tmp_path / "r", *SPHERE, "num_generations=100", "max_env_steps=100")
    again = train(tmp_path / "r", "resume=1")
    more = train(tmp_path / "r", "resume=1", "max_env_steps=200")
    assert (again["generations"], more["generations"]) == (5, 10)
    notices = (tmp_path / "r" / "1" / "notices.jsonl").read_text().splitlines()
    told = [line for line in notices if "nothing left to do" in line]
    assert len(told) == 1
    assert (
        "(100 simulator steps used): to go on, resume run 1 with a greater max_env_steps" in told[0]
    )


def test_a_killed_head_leaves_no_noise_and_the_next_run_sweeps_its_redis(tmp_path: Path) -> None:
    before = redis_folders()
    noise = tmp_path / "noise"
    noise.mkdir()
    words = ("env_name=odd_worlds:Slow-v0", f"include={WORLDS}", "network=linear", "pop_size=8")
    here = f"noise_dir={noise}"
    with TrainingProcess(tmp_path / "r", *words, here, "workers=2") as running:
        running.wait_for("2/")
        family = running.family()
        assert len(list(noise.iterdir())) == 1
        running.kill()
        assert gone(family)
    train(tmp_path / "r", "sphere", "seed=7", "num_generations=2", "workers=1", here)
    assert not list(noise.iterdir())
    left = redis_folders() - before
    assert not [path for path in left if f"es-redis-{running.process.pid}-" in path.name]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_takes_its_files_with_it(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    noise = tmp_path / "noise"
    noise.mkdir()
    words = ("sphere", "seed=7", "num_generations=100000", "workers=1", f"noise_dir={noise}")
    with TrainingProcess(tmp_path / "r", *words) as running:
        running.wait_for("2/")
        running.process.send_signal(number)
        assert running.finish() == code, running.output
        assert "Traceback" not in running.output
        assert not [p for p in redis_folders() if f"-{running.process.pid}-" in p.name]
    assert not list(noise.iterdir())
    status = json.loads((tmp_path / "r" / "1" / "run.json").read_text())["status"]
    assert status == "INTERRUPTED"


def test_the_closing_test_may_be_longer_than_training(tmp_path: Path) -> None:
    words = ("cartpole", "seed=1", "num_generations=6", "pool=serial", "max_ep_length=20")
    assert train(tmp_path, *words)["fitness_current"] <= 20
    assert train(tmp_path, *words, "final_max_ep_length=60")["fitness_current"] > 20
