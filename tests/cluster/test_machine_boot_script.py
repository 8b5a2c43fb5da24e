"""The boot script run on a folder that stands for a machine's disk, with stubs for root's tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from cluster.spec import ClusterSpec

ROOT = Path(__file__).resolve().parents[2]
FILES = ("requirements.txt", "requirements-no-deps.txt", "requirements-worker.txt")
ROOTS_TOOLS = ("systemctl", "apt-get", "useradd", "install")
TRUE = shutil.which("true") or "/bin/true"
FETCH = """
import hashlib, shutil, sys
_, machine, key, file, *sha256 = sys.argv
shutil.copy("{bucket}/" + key, file)
if sha256 and hashlib.sha256(open(file, "rb").read()).hexdigest() != sha256[0]:
    sys.exit("other bytes than expected")
"""


class Disk:
    """A bare machine, or one of an image that has everything; and a bucket."""

    def __init__(self, folder: Path, *, is_baked: bool = True) -> None:
        self.folder = folder
        self.bucket = folder / "bucket"
        for name in ("bin", "etc", "opt/venv/bin", "bucket/place", "bucket/source"):
            (folder / name).mkdir(parents=True)
        for tool in ROOTS_TOOLS:
            stub = folder / "bin" / tool
            stub.write_text(f'#!/bin/sh\necho "{tool} $*" >> "{folder}/done"\n')
            stub.chmod(0o755)
        (folder / "bin" / "python3").symlink_to(sys.executable)
        (folder / "opt/venv/bin/python").symlink_to(TRUE)  # pip, and what compiles
        (folder / "etc/first_fetch.py").write_text(FETCH.format(bucket=self.bucket))
        if is_baked:
            texts = b"\0".join((ROOT / name).read_bytes() for name in FILES)
            (folder / "opt/venv.sha256").write_text(hashlib.sha256(texts).hexdigest() + "\n")
        script = (ROOT / "cluster/machine/boot.sh").read_text()
        for name in ("etc", "opt"):
            script = script.replace(f"{name}=/{name}/walking-es", f"{name}={folder}/{name}")
        (folder / "boot.sh").write_text(script)

    def archive(self, kind: str, files: Mapping[str, Path]) -> str:
        """Put one in the bucket; its sha256."""
        path = self.bucket / "archive"
        with tarfile.open(path, "w:gz") as tar:
            for name, file in files.items():
                tar.add(file, name)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        (self.bucket / kind).mkdir(exist_ok=True)
        path.rename(self.bucket / kind / f"{sha256}.tar.gz")
        return sha256

    def source(self) -> str:
        """Our code, as much of it as the script looks at."""
        return self.archive("source", {name: ROOT / name for name in (*FILES, "cluster")})

    def boot(self, role: str, *words: str, **about: str) -> subprocess.CompletedProcess[str]:
        spec = ClusterSpec(
            name="trial",
            uid="0123456789abcdef" * 2,
            owner="me",
            size=1,
            config=("sphere",),
            created_s=time.time(),
            **{"source": "0" * 64, **about},  # type: ignore[arg-type]
        )
        (self.bucket / "place/spec.json").write_bytes(msgspec.json.encode(spec))
        machine = {"role": role, "store": "s3://bucket/place", "region": "r"}
        (self.folder / "etc/machine.json").write_text(json.dumps(machine))
        return subprocess.run(
            ["bash", self.folder / "boot.sh", self.folder / "etc/machine.json", *words],
            env={
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "WALKING_ES_ENDS_S": "1800000000",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def done(self) -> list[str]:
        """What root's tools were told."""
        path = self.folder / "done"
        return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("role", ["head", "worker"])
def test_an_image_that_has_everything_only_unpacks_and_starts(tmp_path: Path, role: str) -> None:
    disk = Disk(tmp_path)
    (tmp_path / "mine.py").write_text("MINE = 1\n")
    include = disk.archive("include", {"mine.py": tmp_path / "mine.py"})
    booted = disk.boot(role, source=disk.source(), include=include)
    assert booted.returncode == 0, booted.stdout
    enabled = [line.split()[-1] for line in disk.done() if "enable --now" in line]
    names = (role, "log", "end")
    assert enabled == [f"walking-es-{name}.service" for name in names]
    assert not [line for line in disk.done() if line.startswith("apt-get")]
    assert (tmp_path / "opt/include/mine.py").exists()
    assert (tmp_path / "opt/source/cluster/machine/head.py").exists()
    machine = json.loads((tmp_path / "etc/machine.json").read_text())
    assert machine["include"] == str(tmp_path / "opt/include")
    assert (tmp_path / "etc/ends").read_text() == "1800000000\n"


def test_archives_with_other_bytes_than_their_name_says_end_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    source = disk.source()
    wrong = "ab" * 32
    path = disk.bucket / "source" / f"{source}.tar.gz"
    path.rename(path.with_name(f"{wrong}.tar.gz"))
    booted = disk.boot("worker", source=wrong)
    assert booted.returncode == 1
    assert "other bytes than expected" in booted.stdout
    assert "setting up this machine failed in line" in booted.stdout
    assert disk.done() == []


def test_what_fails_later_is_sent_to_the_log_if_it_can_be(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    booted = disk.boot("worker", source=disk.source(), include="cd" * 32)
    assert booted.returncode == 1
    assert "the log could not be sent" in booted.stdout
    assert "Traceback" not in booted.stdout.partition("setting up this machine failed")[2]
    assert not [line for line in disk.done() if "enable" in line]


def test_baking_installs_for_both_roles_and_starts_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path, is_baked=False)
    (tmp_path / "bin/python3").unlink()
    stub = f"""#!/bin/sh
if [ "$1" = -m ]; then mkdir -p "$3/bin" && ln -s "{TRUE}" "$3/bin/python"
else exec "{sys.executable}" "$@"; fi
"""
    (tmp_path / "bin/python3").write_text(stub)
    (tmp_path / "bin/python3").chmod(0o755)
    booted = disk.boot("head", "bake", source=disk.source())
    assert booted.returncode == 0, booted.stdout
    assert "installing requirements.txt" in booted.stdout
    assert not [line for line in disk.done() if "enable" in line]
    assert [line for line in disk.done() if "redis-server" in line]
    again = disk.boot("worker", source=disk.source())
    assert "has everything installed" in again.stdout, "the next machine of that image"
