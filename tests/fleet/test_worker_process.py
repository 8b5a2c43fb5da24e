"""A worker's process itself: when it leaves, and what it never loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from real_fleet import DEADLINE_S

from fleet.server.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]


def test_burst_workers_leave_when_there_is_no_run(tmp_path: Path) -> None:
    with RedisServer() as server:
        finished = burst_workers(server.url, tmp_path)
    assert finished.returncode == 0
    assert "Traceback" not in finished.stderr


def burst_workers(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "es" / "worker.py"), "start-workers", "--num_workers=2"]
    command += ["--burst", f"--redis_url={url}"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=folder, check=False
    )


def test_a_child_imports_neither_torch_nor_sacred_nor_ray(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import fleet.machine.child
from real_fleet import INCLUDE, experiment_of, generation_of
from search.evaluator import Evaluator
from search.noise import open_table
folder = Path(sys.argv[1])
with open_table(1, 10_000, folder) as noise:
    evaluator = Evaluator(experiment_of(noise.spec), noise, INCLUDE)
    assert evaluator.evaluate(generation_of(), 0, 0).status == "ok"
print(sorted({"torch", "sacred", "ray", "tensorboard", "rich"} & set(sys.modules)))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert finished.stdout.strip() == "[]"
