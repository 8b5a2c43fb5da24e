"""The cluster file for ``ray up``: Ray's own schema takes it, and it says what the doc promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config() -> Any:
    return yaml.safe_load((ROOT / "cluster" / "ray.yaml").read_text())


CHECK = """
import sys, yaml
from ray.autoscaler._private.util import prepare_config, validate_config
config = prepare_config(yaml.safe_load(sys.stdin))
validate_config(config)
try:
    validate_config({**config, "max_wrokers": 1})
except Exception as error:
    assert "max_wrokers" in str(error)
else:
    raise AssertionError("anything would pass")
"""


def test_rays_own_schema_takes_the_cluster_file() -> None:
    # Not in this process, which may yet have to prepare for Ray before it imports it.
    text = (ROOT / "cluster" / "ray.yaml").read_text()
    subprocess.run([sys.executable, "-c", CHECK], input=text, text=True, check=True)


def test_only_workers_are_spot_and_all_round_alike(config: Any) -> None:
    head, worker = (config["available_node_types"][kind] for kind in ("head", "worker"))
    assert config["head_node_type"] == "head"
    assert "InstanceMarketOptions" not in head["node_config"]
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    families = {node["node_config"]["InstanceType"].partition(".")[0] for node in (head, worker)}
    assert len(families) == 1
    assert worker["max_workers"] <= config["max_workers"]


def test_what_the_doc_types_is_there(config: Any) -> None:
    (folder,) = config["file_mounts"]
    text = (ROOT / "docs" / "ray.md").read_text()
    assert f"cd {Path(folder).name} && python nevergrad_es/experiment.py" in text
    assert (ROOT / "nevergrad_es" / "experiment.py").exists()
    assert any("make" in command and "setup" in command for command in config["setup_commands"])
