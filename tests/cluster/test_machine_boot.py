"""What sets a machine up: its boot script, its services, and what workers need to be installed."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from doctor import read_pins

ROOT = Path(__file__).resolve().parents[2]
MACHINE = ROOT / "cluster" / "machine"
UNITS = sorted((MACHINE / "units").glob("*.service"))
REQUIREMENTS = ("requirements.txt", "requirements-no-deps.txt", "requirements-worker.txt")


def unit(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(path)
    return parsed


def function(name: str) -> str:
    """A function of the boot script, as bash reads it."""
    found = re.search(rf"^{name}\(\) {{\n.*?^}}", (MACHINE / "boot.sh").read_text(), re.M | re.S)
    assert found is not None
    return found[0]


def bash(script: str, *words: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script, "bash", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("script", sorted(MACHINE.glob("*.sh")), ids=lambda path: path.name)
def test_bash_can_read_the_scripts(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_there_are_services_for_both_roles_the_log_and_the_end() -> None:
    assert {path.stem.removeprefix("walking-es-") for path in UNITS} == {
        "head",
        "worker",
        "log",
        "end",
    }


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_services_come_back_whatever_ends_them_and_have_limits(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["Restart"] == "always"
    assert unit(path)["Unit"]["StartLimitIntervalSec"] == "0", "however often"
    assert service["TasksMax"].isdecimal()
    assert service["NoNewPrivileges"] == "yes"
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target", "after a reboot too"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_no_service_but_the_switch_runs_as_root(path: Path) -> None:
    service = unit(path)["Service"]
    if path.stem == "walking-es-end":
        assert service["ExecStart"].endswith("/cluster/machine/end_machine.sh")
    else:
        assert service["User"] == "walking-es"
        assert service["ProtectSystem"] == "strict"
        assert int(service["LimitNOFILE"]) >= 1024


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_has_nothing_to_say_against_the_services(tmp_path: Path) -> None:
    for path in UNITS:
        # It looks whether the programs are there, which they are on a machine that is set up.
        text = path.read_text().replace("/opt/walking-es/venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / path.name for path in UNITS)],
        capture_output=True,
        text=True,
    )
    ours = [line for line in found.stderr.splitlines() if "walking-es" in line]
    assert not ours
    assert found.returncode == 0, found.stderr


def test_the_switch_goes_off_when_asked_and_when_time_is_over(tmp_path: Path) -> None:
    script = (MACHINE / "end_machine.sh").read_text()
    script = script.replace("exec systemctl", f"exec touch {tmp_path}/off #")
    script = script.replace("/run/walking-es", str(tmp_path)).replace("sleep 2", "sleep 0.05")
    script = script.replace("/etc/walking-es", str(tmp_path))
    (tmp_path / "ends").write_text("99999999999\n")
    with subprocess.Popen(["bash", "-c", script]) as switch:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                switch.wait(0.5)
            (tmp_path / "power-off").touch()
            assert switch.wait(30) == 0
        finally:
            switch.kill()
    assert (tmp_path / "off").exists()
    (tmp_path / "off").unlink()
    (tmp_path / "power-off").unlink()
    (tmp_path / "ends").write_text("1000000000\n")
    bash(script)
    assert (tmp_path / "off").exists()


def test_an_image_is_known_by_what_it_has_installed(tmp_path: Path) -> None:
    texts = [(ROOT / name).read_bytes() for name in REQUIREMENTS]
    expected = hashlib.sha256(b"\0".join(texts)).hexdigest()
    (tmp_path / "source").symlink_to(ROOT)
    assert bash(f"{function('everything')}\nopt=$1; everything", str(tmp_path)).strip() == expected


def test_a_field_that_is_missing_or_null_is_empty(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"source": "abc", "include": null}')
    script = f'{function("field")}\nfor name in source include other; do field "$1" "$name"; done'
    assert bash(script, str(tmp_path / "spec.json")) == "abc\n\n\n"


def test_workers_have_the_pins_that_the_head_has() -> None:
    workers = read_pins(ROOT / "requirements-worker.txt")
    everything = read_pins(ROOT / "requirements.txt")
    pins = {**everything.direct, **everything.brought_in}
    ours = {**workers.direct, **workers.brought_in}
    assert ours
    assert {name: pins.get(name) for name in ours} == ours


def test_workers_run_with_what_their_requirements_name_and_nothing_else() -> None:
    named = read_pins(ROOT / "requirements-worker.txt")
    pins = {*named.direct, *named.brought_in, *read_pins(ROOT / "requirements-no-deps.txt").direct}
    providers = metadata.packages_distributions()
    there = [
        top
        for top, names in providers.items()
        if {re.sub(r"[-_.]+", "-", name).lower() for name in names} & pins
    ]
    assert not {"torch", "ray", "sacred", "nevergrad"} & set(there)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("worker_imports.py")), *there],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {"LunarLanderContinuous-v3", "OpenSimWalk2D-v0", "Ant-v5"} <= set(done.stdout.split())
