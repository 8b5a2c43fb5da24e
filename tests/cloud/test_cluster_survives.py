"""What happens to clusters, on machines that really boot: the long form, ``make test-cloud``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_user import PATIENCE_S, AwsUser
from cloud_conditions import IS_FULL, PLACES
from left_in_account import left_of
from simulated_cloud import ROOT, SimulatedCloud

INCLUDE = ROOT / "tests" / "chaos" / "include"
RUN = "env_name=slow_world:SlowWorld-v0 network=linear pop_size=12 validation_episodes=2 seed=5"
NUM_GENERATIONS = 100
NEVER = 100_000

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not IS_FULL, reason="takes many minutes: make test-cloud"),
]


@pytest.fixture(params=PLACES)
def user(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AwsUser]:
    with SimulatedCloud(tmp_path / "machines", is_apart=request.param) as cloud:
        user = AwsUser(cloud, tmp_path / "user")
        user.sets_up()
        yield user


def config(num_generations: int, pace: float) -> str:
    return f"{RUN} num_generations={num_generations} env_options.pace={pace}"


def theta_of(runs_dir: Path) -> str:
    """Of the one run that is there."""
    (run,) = (path for path in runs_dir.iterdir() if path.name.isdecimal())
    result: dict[str, Any] = json.loads((run / "run.json").read_text())["result"]
    assert result["host_failures"] == 0
    return str(result["theta_sha256"])


def undisturbed(folder: Path) -> str:
    """theta_sha256 of the same run in one process, where nobody waits and nothing breaks."""
    words = config(NUM_GENERATIONS, 0.0).split()
    where = [f"include={INCLUDE}", f"runs_dir={folder}", "pool=serial"]
    command = [sys.executable, str(ROOT / "es" / "experiment.py"), "with", *words, *where]
    subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)
    return theta_of(folder)


def test_a_run_outlives_its_machines_and_comes_to_the_theta_of_an_undisturbed_one(
    user: AwsUser, tmp_path: Path
) -> None:
    cloud, workers = user.cloud, lambda: user.machines("first", "worker")
    wanted = undisturbed(tmp_path / "calm")
    user.launches("first", config(NUM_GENERATIONS, 2.0), "--size=3", f"--include={INCLUDE}")
    user.waits_for("first", generation=1, workers=3)
    assert "Redis at" in user.types("manage", "tail", "first", "--no_follow", "--lines=1000")

    # A spot notice: it gives back what it has in hand, before it is taken away.
    leaving, lost, _ = workers()
    leaving.metadata.announce_interruption()
    cloud.wait_for(lambda: said(leaving, "what is in hand is given back"), "its leave", PATIENCE_S)
    cloud.take_away(leaving)
    # And another is gone without a word. The group replaces both.
    cloud.lose(lost)
    cloud.wait_for(lambda: len(workers()) == 3, "the group's new machines", PATIENCE_S)
    assert not {leaving, lost} & set(workers())
    at = user.progress("first")["generation"]
    user.waits_for("first", generation=at + 2, workers=3)

    user.types("manage", "resize", "first", "5")
    user.waits_for("first", workers=5)
    user.types("manage", "size", "first", "1")
    cloud.wait_for(lambda: len(workers()) == 1, "the end of those too many", PATIENCE_S)

    # The head is lost between two generations or in one; another goes on with the run.
    head, at = user.machine("first", "head"), user.progress("first")["generation"]
    cloud.lose(head)
    user.types("manage", "replace_head", "first")
    user.waits_for("first", generation=at + 1, workers=1)
    assert user.machine("first", "head") is not head
    # It is rebooted, too.
    user.machine("first", "head").reboot()
    user.types("manage", "resize", "first", "3")

    # The run ends by itself, and with it everything that costs.
    cloud.wait_for(lambda: user.stored("first", "ended.json"), "the run's end", 4 * PATIENCE_S)
    cloud.wait_for(lambda: not cloud.running, "the machines' end", PATIENCE_S)
    assert user.stored("first", "ended.json")["why"] == "completed"
    user.types("manage", "fetch", "first", "--runs_dir=home", f"--include={INCLUDE}")
    assert theta_of(user.folder / "home") == wanted
    user.types("manage", "kill", "first", "--yes")
    assert not left_of(cloud.moto, "first")


def test_a_cluster_whose_budget_is_spent_ends_itself_with_its_run_kept(user: AwsUser) -> None:
    cloud = user.cloud
    budget = ("--budget_usd=0.02", "--on_demand", f"--include={INCLUDE}")
    user.launches("short", config(NEVER, 0.2), "--size=2", *budget)
    user.waits_for("short", generation=1, workers=1)
    cloud.wait_for(lambda: user.stored("short", "ended.json"), "the budget's end", 2 * PATIENCE_S)
    assert user.stored("short", "ended.json")["why"] == "budget"
    cloud.wait_for(lambda: not cloud.running, "the machines' end", PATIENCE_S)
    user.types("manage", "fetch", "short", "--runs_dir=home")
    (run,) = (path for path in (user.folder / "home").iterdir() if path.name.isdecimal())
    assert list((run / "journal").glob("snapshot-*"))
    user.types("manage", "kill", "short", "--yes")
    assert not left_of(cloud.moto, "short")


def said(machine: Any, text: str) -> bool:
    """Whether the services of a machine have said that."""
    return text in machine.log("walking-es/machine.log")
