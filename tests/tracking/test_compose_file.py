"""sacred/docker-compose.yml, as far as it can be held to without Docker."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "sacred"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_what_it_shows_to_the_machine_is_on_loopback_only(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items()}
    assert ports == {"mongo": ["127.0.0.1:27017:27017"], "omniboard": ["127.0.0.1:9000:9000"]}
    assert not [service for service in services.values() if "network_mode" in service]


def test_no_password_is_written_in_it_or_in_a_command(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or "URI" in name:
                assert "_PASSWORD:?run ./make_env.sh first}" in value
        commands = json.dumps([service.get("command"), service["healthcheck"]["test"]])
        assert "PASSWORD" not in commands


def test_every_service_has_a_healthcheck_and_omniboard_waits_for_it(
    services: dict[str, Any],
) -> None:
    assert all("test" in service["healthcheck"] for service in services.values())
    assert services["omniboard"]["depends_on"] == {"mongo": {"condition": "service_healthy"}}


def test_data_is_kept_in_a_volume(services: dict[str, Any]) -> None:
    assert "data:/data/db" in services["mongo"]["volumes"]
    assert "data" in yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["volumes"]


def test_what_it_mounts_and_builds_from_is_there(services: dict[str, Any]) -> None:
    mounted = [volume.split(":")[0] for volume in services["mongo"]["volumes"]]
    assert all((FOLDER / path).is_file() for path in mounted if path.startswith("."))
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    assert all((FOLDER / name).is_file() for names in copied for name in names)
    assert ".env*" in (FOLDER / ".dockerignore").read_text().splitlines()


def test_passwords_are_drawn_once_for_us_only(tmp_path: Path) -> None:
    script = shutil.copy(FOLDER / "make_env.sh", tmp_path)
    said = [subprocess.check_output(["sh", script], text=True) for _ in range(2)]
    path = tmp_path / ".env"
    found = dict(line.split("=") for line in path.read_text().splitlines())
    assert set(found) == {"MONGO_ROOT_PASSWORD", "ES_MONGO_PASSWORD"}
    assert all(len(password) == 48 for password in found.values())
    assert len(set(found.values())) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "drawn" in said[0]
    assert "stays" in said[1]
    assert not [p for p in tmp_path.iterdir() if p.name not in {".env", "make_env.sh"}]
    assert not [p for p in found.values() if p in "".join(said)]


def test_the_lock_names_no_registry_and_every_package_by_its_content() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert not [name for name, entry in packages.items() if "integrity" not in entry]
    assert not [name for name, entry in packages.items() if entry.get("hasInstallScript")]
    assert packages["node_modules/omniboard"]["version"] == "2.16.1"
