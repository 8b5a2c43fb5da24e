"""The proof by breaking it: whatever dies, is cut off or lied to, theta comes out the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from chaos_head import SLOW, reference
from conditions import IS_FULL
from storm import QUIET_PATIENCE_S, Storm, Stuck, Weather

SHORT = Weather(
    least=1,
    least_total=20,
    kill_every_s=1.0,
    head_every_s=7.0,
    wire_every_s=1.5,
    mischief_every_s=0.3,
    cut_s=2.0,
    patience_s=60.0,
    longest_s=200.0,
)

FULL = Weather(
    least=5,
    least_total=100,
    kill_every_s=2.0,
    head_every_s=20.0,
    wire_every_s=4.0,
    mischief_every_s=1.0,
    cut_s=10.0,
    patience_s=150.0,
    longest_s=900.0,
)


WAYS = [(True, 1), (True, 0), (False, 0)]


def weather_it(folder: Path, weather: Weather, *words: str, **options: Any) -> str:
    """Have a run go through ``weather`` and come out as it should; what befell it."""
    with Storm(folder, weather, *SLOW, *words, **options) as storm:
        storm.rage()
        generations = storm.calm()
        result = storm.head.result()
        codes = storm.stop()
        left = storm.mark.left_running()
        words = (*words, f"num_generations={generations}")
        wanted = reference(folder / "calm", storm.mark, *SLOW, *words)
    for same in ("theta_sha256", "rollouts", "env_steps", "generations", "fitness_current"):
        assert result[same] == wanted[same]
    assert result["failed_rollouts"] == result["host_failures"] == 0
    assert not left
    assert codes == [0] * len(codes)
    assert not storm.faults.missing(weather.least)
    return f"{storm.faults.table()}\n{generations} generations by {storm.head.starts} heads"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("is_relayed", "overlap"), WAYS if IS_FULL else WAYS[:1])
def test_a_run_through_every_fault_ends_with_the_theta_of_a_quiet_one(
    tmp_path: Path, show: Any, is_relayed: bool, overlap: int
) -> None:
    weather = FULL if IS_FULL else SHORT
    show(weather_it(tmp_path, weather, f"overlap={overlap}", is_relayed=is_relayed))


@pytest.mark.timeout(400)
def test_without_its_repair_the_same_run_never_ends_and_with_it_again_it_does(
    tmp_path: Path,
) -> None:
    brief = dataclasses.replace(SHORT, patience_s=10.0)
    lame = {"CHAOS_WITHOUT_REPAIR": "1"}
    with Storm(tmp_path, brief, *SLOW, is_relayed=False, environment=lame) as storm:
        while True:
            with pytest.raises(Stuck, match="no answer for"):
                storm.rage()
            # Longer than anything is waited for; else the machine was slow.
            if storm.has_nothing_to_do(for_s=15.0):
                break
        storm.patience_s = QUIET_PATIENCE_S
        storm.head.environment = {}
        storm.calm()
        assert storm.head.result()["failed_rollouts"] == 0
