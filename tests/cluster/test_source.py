"""What travels to machines, and what must not."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cluster.source import Archive, keep_requirements, pack_include, pack_source, unpack
from errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return pack_source(ROOT, tmp_path_factory.mktemp("packed"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "models").mkdir(parents=True)
    (folder / "my_envs.py").write_text("x = 1\n")
    (folder / "models" / "leg.osim").write_text("<OpenSimDocument/>")
    return folder


def test_an_archive_is_named_by_its_sha256(packed: Archive) -> None:
    assert packed.path.name == f"{packed.sha256}.tar.gz"
    assert hashlib.sha256(packed.path.read_bytes()).hexdigest() == packed.sha256


def test_our_code_travels_without_tests_runs_or_what_was_left_lying_about(packed: Archive) -> None:
    tops = {name.partition("/")[0] for name in packed.names}
    assert {"es", "env", "fleet", "cluster", "errors.py", "requirements.txt"} <= tops
    assert not tops & {"tests", "benchmarks", "runs", ".git", "docs", ".venv"}
    assert "examples/gaits/walk2d.json" in packed.names
    assert not [name for name in packed.names if "__pycache__" in name or name.endswith(".pyc")]
    assert packed.path.stat().st_size < 2**20


def test_what_was_unpacked_runs_by_itself(packed: Archive, tmp_path: Path) -> None:
    unpack(packed.path, tmp_path / "code")
    said = subprocess.run(
        [sys.executable, "-P", "-c", "import search.code_version as v; print(v.code_version())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
        capture_output=True,
        text=True,
        check=True,
    )
    in_place = subprocess.run(
        [sys.executable, "-c", "import search.code_version as v; print(v.code_version())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == in_place.stdout


def test_the_same_content_has_the_same_name_wherever_and_whenever_it_is_packed(
    mine: Path, tmp_path: Path
) -> None:
    first = pack_include(mine, tmp_path / "a")
    other = tmp_path / "other"
    shutil.copytree(mine, other)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    (other / "__pycache__").mkdir()
    (other / "__pycache__" / "my_envs.cpython-311.pyc").write_bytes(b"...")
    second = pack_include(other, tmp_path / "b")
    assert second.sha256 == first.sha256
    (other / "my_envs.py").write_text("x = 2\n")
    assert pack_include(other, tmp_path / "b").sha256 != first.sha256


def test_a_folder_comes_back_as_it_was_without_what_is_hidden(mine: Path, tmp_path: Path) -> None:
    (mine / "tool.sh").write_text("#!/bin/sh\n")
    (mine / "tool.sh").chmod(0o755)
    (mine / ".git").mkdir()
    (mine / ".git" / "config").write_text("mine")
    archive = pack_include(mine, tmp_path)
    unpack(archive.path, tmp_path / "there")
    came = sorted(p.relative_to(tmp_path / "there").as_posix() for p in _files(tmp_path / "there"))
    assert came == ["models/leg.osim", "my_envs.py", "tool.sh"] == list(archive.names)
    assert os.access(tmp_path / "there" / "tool.sh", os.X_OK)


def test_one_file_travels_alone(mine: Path, tmp_path: Path) -> None:
    assert pack_include(mine / "my_envs.py", tmp_path).names == ("my_envs.py",)


@pytest.mark.parametrize(
    "name", ["key.pem", "id_rsa", "credentials", "my_secret.txt", "aws.credentials.key"]
)
def test_a_file_that_is_called_like_a_secret_is_refused(
    mine: Path, tmp_path: Path, name: str
) -> None:
    (mine / "models" / name).write_text("x")
    with pytest.raises(ConfigError, match=f"{name} looks like a secret"):
        pack_include(mine, tmp_path)


@pytest.mark.parametrize(
    "text", ["KEY = '" + "AKIA" + "ABCDEFGH12345678'", "-----BEGIN RSA " + "PRIVATE KEY-----"]
)
def test_a_key_in_a_file_is_refused(mine: Path, tmp_path: Path, text: str) -> None:
    (mine / "my_envs.py").write_text(f"x = 1\n{text}\n")
    with pytest.raises(ConfigError, match=r"my_envs\.py looks like a secret"):
        pack_include(mine, tmp_path)
    assert not list(tmp_path.glob("*.tar.gz"))


def test_a_link_out_of_the_folder_is_refused(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("x")
    (mine / "link.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(ConfigError, match=r"link\.txt is a link to what lies outside"):
        pack_include(mine, tmp_path)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        pack_include(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        pack_include(tmp_path / "empty", tmp_path)


def test_code_is_packed_from_a_clone_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run the command in a clone"):
        pack_source(tmp_path, tmp_path)


def test_requirements_are_kept_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("# mine\nnumpy==2.3.5\nfoo @ https://host/foo.whl\n")
    kept = keep_requirements(tmp_path / "mine.txt", tmp_path / "kept")
    assert kept.path.read_text() == (tmp_path / "mine.txt").read_text()
    assert kept.path.name == f"{kept.sha256}.txt"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--index-url https://me:pw@host/simple", "a login"),
        ("-r other.txt", "this machine only"),
        ("-e .", "this machine only"),
        ("./mine", "this machine only"),
    ],
)
def test_requirements_with_a_login_or_of_this_machine_are_refused(
    tmp_path: Path, line: str, why: str
) -> None:
    (tmp_path / "mine.txt").write_text(f"numpy==2.3.5\n{line}\n")
    with pytest.raises(ConfigError, match=f"line 2: .*{why}"):
        keep_requirements(tmp_path / "mine.txt", tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="no archive of ours"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "there")


def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(ConfigError, match="no archive of ours"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "there")
    assert not (tmp_path / "outside").exists()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
