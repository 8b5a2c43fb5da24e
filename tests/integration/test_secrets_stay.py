"""What a head knows of where runs are recorded and told of, its workers do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_process import WORLDS, train


@pytest.mark.parametrize("pool", ["redis", "ray"])
def test_no_simulator_finds_the_way_into_mongodb_or_the_address_of_notices(
    pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_MONGO_URL", "off")
    monkeypatch.setenv("ES_MONGO_PASSWORD", "open sesame")
    monkeypatch.setenv("ES_NOTIFY_URL", "off")
    result = train(
        tmp_path / "r", f"include={WORLDS}", "env_name=odd_worlds:Curious-v0", "network=linear",
        "seed=1", "num_generations=1", "pop_size=4", "workers=1", f"pool={pool}",
    )  # fmt: skip
    assert result["failed_rollouts"] == 0
