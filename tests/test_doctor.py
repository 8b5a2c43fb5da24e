"""The doctor must speak when everything else is broken, and fail only for what training needs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

import doctor
from doctor import Finding
from fleet.server.redis_server import RedisServer
from tracking.mongo.server import MongoServer

ROOT = Path(__file__).resolve().parents[1]


def levels(check: doctor.Check) -> dict[str, str]:
    return {finding.subject: finding.level for finding in doctor.examine(check)}


def test_a_check_that_breaks_is_a_line_like_any_other() -> None:
    def check_the_moon() -> Iterator[Finding]:
        yield Finding("ok", "before", "")
        raise ImportError("no moon")

    before, broken = doctor.examine(check_the_moon)
    assert before.level == "ok"
    assert str(broken).startswith("FAIL  the moon")
    assert "ImportError: no moon; run make setup" in str(broken)


def test_a_requirements_file_gives_its_direct_and_its_other_pins(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# a==b in a comment\nalpha[extra]==1.2\n\n# Brought in by the packages above\n"
        'beta==3.post1\ngamma==4; python_full_version < "3.11.3"\n'
    )
    assert doctor.read_pins(path) == ({"alpha": "1.2"}, {"beta": "3.post1"})


def test_a_missing_or_wrong_package_is_named_with_its_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==0.1\nno-such-package==2\n")
    (tmp_path / "requirements-no-deps.txt").write_text("")
    (tmp_path / "requirements-dev.txt").write_text("pytest==0.2\n# Brought in by\nruff==0.3\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    numpy, absent, pytest_, ruff, rest = doctor.examine(doctor.check_packages)
    assert numpy.level == "FAIL"
    assert numpy.detail.endswith("expected 0.1")
    assert (absent.level, absent.detail) == ("FAIL", "not installed, expected 2")
    assert (pytest_.level, ruff.level) == ("warn", "warn")
    assert rest.detail == "0 of 1 at their pins"


def test_every_package_here_is_at_its_pin() -> None:
    assert set(levels(doctor.check_packages).values()) == {"ok"}


def test_a_python_out_of_range_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEWEST", (3, 10))
    assert levels(doctor.check_python) == {"python": "FAIL"}


def test_a_model_steps_and_one_that_hangs_or_crashes_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(doctor.check_opensim) == {"opensim steps": "ok"}
    monkeypatch.setattr(doctor, "OPENSIM_STEPS", "import os; os.abort()")
    assert levels(doctor.check_opensim) == {"opensim steps": "FAIL"}
    monkeypatch.setattr(doctor, "OPENSIM_STEPS", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "OPENSIM_LIMIT_S", 0.5)
    assert levels(doctor.check_opensim) == {"opensim steps": "FAIL"}


def test_a_redis_that_evicts_or_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    with RedisServer() as server:
        monkeypatch.setenv("ES_REDIS_URL", server.url)
        assert set(levels(doctor.check_redis).values()) == {"ok"}
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", "100mb")
        assert levels(doctor.check_redis)["ES_REDIS_URL"] == "FAIL"
    found = levels(doctor.check_redis)
    assert found == {"redis, our own": "ok", "ES_REDIS_URL": "FAIL"}


def test_a_noise_folder_that_cannot_be_had_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_NOISE_DIR", str(tmp_path / "nowhere"))
    assert levels(doctor.check_shared_memory) == {"shared memory": "FAIL"}


def test_shared_memory_takes_the_noise_table_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_NOISE_DIR", str(tmp_path))
    assert levels(doctor.check_shared_memory) == {"shared memory": "ok"}
    assert not list(tmp_path.iterdir())


def test_mongodb_is_asked_as_a_run_asks_it(
    mongod: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert levels(doctor.check_mongodb) == {"mongodb": "ok"}
    monkeypatch.setenv("ES_MONGO_URL", mongod.url)
    assert levels(doctor.check_mongodb) == {"mongodb": "FAIL"}  # no password: a run is refused
    monkeypatch.setenv("ES_MONGO_PASSWORD", mongod.password)
    (found,) = doctor.examine(doctor.check_mongodb)
    assert (found.level, mongod.password in str(found)) == ("ok", False)
    assert f"127.0.0.1:{mongod.port}/sacred" in found.detail
    monkeypatch.setenv("ES_MONGO_PASSWORD", "secret")
    (refused,) = doctor.examine(doctor.check_mongodb)
    assert (refused.level, "secret" in str(refused)) == ("warn", False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("ES_MONGO_URL", f"mongodb://user:secret@127.0.0.1:{port}/sacred")
    (absent,) = doctor.examine(doctor.check_mongodb)
    assert (absent.level, "secret" in str(absent)) == ("warn", False)


def test_what_make_dashboard_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = {name: tmp_path / name for name in ("mongod", "node", "npm")}
    for program in programs.values():
        program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert levels(doctor.check_dashboard) == {"make dashboard": "ok"}
    programs["npm"].unlink()
    (lacking,) = doctor.examine(doctor.check_dashboard)
    assert (lacking.level, lacking.detail.endswith("no npm here")) == ("warn", True)
    monkeypatch.setenv("ES_MONGOD", str(tmp_path / "none"))
    assert levels(doctor.check_dashboard) == {"make dashboard": "warn"}


def test_aws_credentials_are_found_but_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (absent,) = doctor.examine(doctor.check_aws)
    assert absent.detail.startswith("not configured")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    (found,) = doctor.examine(doctor.check_aws)
    assert "AWS_ACCESS_KEY_ID" in found.detail
    assert "AKIASECRET" not in str(found)


def test_it_speaks_in_a_python_that_has_nothing_installed(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", "doctor.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "FAIL  this project      not installed; run make setup" in done.stdout
    assert done.stdout.endswith("doctor: 1 failed, 0 warned\n")
    assert not done.stderr


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warn", 0), ("FAIL", 1)])
def test_only_a_failure_makes_the_exit_code_one(
    level: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding(level, "it", "is so")]),))
    assert doctor.main() == code


def test_make_names_every_target() -> None:
    listed = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = [line.split()[1] for line in listed.splitlines()]
    assert targets == [
        "help",
        "setup",
        "train",
        "dashboard",
        "test",
        "test-chaos",
        "test-cloud",
        "test-dashboards",
        "bench",
        "lint",
        "doctor",
        "clean",
    ]


def test_a_python_without_venv_or_of_another_version_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    """With a stand-in for the interpreter of such a machine, which this one does not have."""
    (tmp_path / "setup.sh").write_text((ROOT / "setup.sh").read_text())
    interpreter = tmp_path / "python"
    for refused, said in [("import sys", "no Python 3.11 to 3.13"), ("ensurepip", "-venv, then")]:
        interpreter.write_text(
            f'#!/bin/sh\ncase "$2" in *"{refused}"*exit*|*"import {refused}"*) exit 1;; esac\n'
            f'exec {sys.executable} "$@"\n'
        )
        interpreter.chmod(0o755)
        done = subprocess.run(
            ["sh", "setup.sh"],
            cwd=tmp_path,
            env={**os.environ, "PYTHON": str(interpreter)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / ".venv").exists()
