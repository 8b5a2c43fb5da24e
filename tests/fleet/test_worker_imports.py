"""What a real worker has loaded while it evaluates."""

from __future__ import annotations

from pathlib import Path

from real_fleet import INCLUDE, experiment_of, generation_of, of_run, wait_for

from fleet.connection import connect
from fleet.head.redis_pool import RedisPool
from fleet.provision import local_workers
from fleet.server.redis_server import RedisServer
from search.noise import open_table

NOT_FOR_WORKERS = {
    *("sacred", "ray", "torch", "nevergrad", "cma", "pymongo", "boto3", "tensorboard", "rich"),
    *("matplotlib", "pandas", "imageio", "pyvista", "scipy", "docopt", "git", "pkg_resources"),
    *("tracking", "training", "cluster", "nevergrad_es"),
}


def test_a_worker_loads_nothing_that_only_heads_need(tmp_path: Path) -> None:
    out = tmp_path / "modules"
    with (
        RedisServer() as server,
        connect(server.url) as client,
        open_table(5, 10_000, tmp_path) as noise,
        local_workers(1, server.url, log=tmp_path / "log", include=INCLUDE, noise_dir=tmp_path),
    ):
        experiment = experiment_of(noise.spec, env="census:Census-v0", out=str(out))
        pool = RedisPool(client, experiment)
        try:
            pool.open(of_run(generation_of(), experiment))
            wait_for(lambda: [*pool.results(0.1), out.exists()][-1], "a first reset")
        finally:
            pool.shutdown()
    loaded = out.read_text().splitlines()
    assert "fleet.machine.run_service" in loaded
    assert not {name.partition(".")[0] for name in loaded} & NOT_FOR_WORKERS
