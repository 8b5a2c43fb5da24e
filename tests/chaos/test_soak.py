"""Generations of the lander through a relay, for as long as one likes: nobody's memory grows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from chaos_head import Head
from chaos_machine import INCLUDE, Machine
from conditions import IS_LONG_SOAK, SAMPLES, SOAK_S
from heads_redis import HeadsRedis
from memory_watch import MemoryWatch
from own_processes import Mark

WARM_UP_S = min(300.0, SOAK_S / 3)
MOST_GROWTH = 0.05 if IS_LONG_SOAK else 0.5
"""A short one only shows that it is measured, and finds what grows by the rollout."""

LANDER = (
    "lander",
    "env_name=paced_lander:PacedLander-v0",
    f"include={INCLUDE}",
    "env_options={'step_s': 0.0002}",
    "pop_size=20",
    "validation_episodes=2",
    "final_episodes=2",
    "num_serializations=0",
    "num_generations=1000000",
    "max_rollouts_per_process=10000000",
    "seed=5",
)
PARTS = {"supervisor", "relay", "local redis", "worker 0", "worker 1", "head", "head's redis"}


@pytest.mark.timeout(SOAK_S + 120)
def test_generation_after_generation_nobody_needs_more_memory(tmp_path: Path, show: Any) -> None:
    mark, redis = Mark(), HeadsRedis()
    machine = Machine(redis.url, tmp_path / "machine.log", mark)
    head = Head(tmp_path / "runs", mark, *LANDER, f"redis_url={redis.url}", "workers=0")
    try:
        machine.tend()
        head.start(f"max_wall_s={SOAK_S}")
        assert head.process is not None
        # What it loads before its first generation is no growth, and takes a busy machine long.
        while head.process.poll() is None and not _has_begun(tmp_path / "runs"):
            time.sleep(0.1)
        watch = MemoryWatch(Path(SAMPLES) if SAMPLES else tmp_path / "memory.csv")
        while head.process.poll() is None:
            watch.look(_parts(machine, head.process.pid, redis))
            time.sleep(min(5.0, SOAK_S / 60))
        result = head.result()
        assert machine.starts == 1
        assert machine.stop() == 0
        redis.stop()
        assert not mark.left_running()
    finally:
        mark.end_all()
        head.end()
        machine.stop()
        redis.stop()
    show(f"{watch.table(WARM_UP_S)}\n{result['generations']} generations in {SOAK_S:g} s")
    grown = watch.growth(WARM_UP_S)
    assert set(grown) == PARTS
    assert {part: g for part, g in grown.items() if g > MOST_GROWTH} == {}


def _has_begun(runs: Path) -> bool:
    return any(path.stat().st_size for path in runs.glob("*/metrics.jsonl"))


def _parts(machine: Machine, head_pid: int, redis: HeadsRedis) -> dict[str, int]:
    parts = {"head": head_pid, "head's redis": redis.server.pid}
    for kind, processes in machine.family().items():
        for number, process in enumerate(processes):
            parts[f"worker {number}" if kind == "worker" else kind] = process.pid
    return parts
