"""What travels to machines: our code, a user's own folder and requirements, each named by content.

An archive holds what is listed here and nothing else, in one order and with one time, so that the
same content has the same sha256 wherever it is packed. What looks like a secret is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from errors import ConfigError, ResourceExhausted

SOURCE_PATTERNS = (
    *(
        f"{folder}/**/*.py"
        for folder in ("cluster", "env", "es", "fleet", "nevergrad_es", "policy", "search")
    ),
    "tracking/**/*.py",
    "training/**/*.py",
    "cluster/machine/*.sh",
    "cluster/machine/units/*.service",
    "cluster/machine/units/*.timer",
    "examples/gaits/*.json",
    "errors.py",
    "doctor.py",
    "pyproject.toml",
    "requirements*.txt",
    "README.md",
    "LICENSE",
)
"""Our code as a machine needs it: no tests, no runs, nothing that somebody left lying about."""

MOST_BYTES = 500 * 2**20
"""Of a user's own folder."""

_LEFT_OUT = {"__pycache__", "node_modules", "runs", "venv"}
_SECRET_NAME = re.compile(
    r"id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx|jks|kdbx|ppk)|credentials(\.\w+)?"
    r"|(.*[._-])?secrets?(\.\w+)?|(.*[._-])?passwords?(\.\w+)?|\.env(\..*)?|\.netrc|\.pgpass",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|(?<![A-Z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Z0-9])"
)
_OF_CODE = {".py", ".sh", ".txt", ".toml", ".service", ".timer", ".json", ".md", ""}
_SCANNED_BYTES = 2**20
_LOGIN_IN_URL = re.compile(r"://[^/\s]*@")
_ELSEWHERE = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable)\b|\.{1,2}/|/|file:")


class Archive(NamedTuple):
    """A file to be carried.

    Attributes:
        sha256: of the file, 64 hexadecimal digits.
        path: where it lies, named ``<sha256>.tar.gz`` or ``<sha256>.txt``.
        names: of what is in it, relative.
    """

    sha256: str
    path: Path
    names: tuple[str, ...]


def pack_source(root: Path, folder: Path) -> Archive:
    """Our code under ``root`` as an archive in ``folder``.

    Raises:
        ConfigError: there is none, or something in it looks like a secret.
        ResourceExhausted: ``folder`` cannot be written to.
    """
    found = {path for pattern in SOURCE_PATTERNS for path in root.glob(pattern)}
    files = [path for path in found if path.is_file() and not _is_left_out(path, root)]
    if root / "errors.py" not in files:
        raise ConfigError(f"{root} does not hold this project's code: run the command in a clone")
    return _pack(root, files, folder)


def pack_include(path: Path, folder: Path) -> Archive:
    """A user's own folder, or one file, as an archive in ``folder``; hidden files stay here.

    Raises:
        ConfigError: there is no such folder, it holds nothing or too much, something in it looks
            like a secret, or a link leads out of it.
        ResourceExhausted: ``folder`` cannot be written to.
    """
    if not path.exists():
        raise ConfigError(f"--include {path}: there is no such folder")
    root = path if path.is_dir() else path.parent
    files = sorted(_walk(root)) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"--include {path}: expected a folder with modules, and it is empty")
    for file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"--include {path}: {file.relative_to(root)} is a link to what lies outside; copy "
                "it there"
            )
    size = sum(file.stat().st_size for file in files)
    if size > MOST_BYTES:
        raise ConfigError(
            f"--include {path}: {size / 2**20:.0f} MB, expected at most "
            f"{MOST_BYTES / 2**20:.0f}; name a folder with the modules and models alone"
        )
    return _pack(root, files, folder)


def keep_requirements(path: Path, folder: Path) -> Archive:
    """A user's requirements file, as it is, in ``folder`` under its sha256.

    Raises:
        ConfigError: it cannot be read, holds a login, or wants what lies on this machine.
        ResourceExhausted: ``folder`` cannot be written to.
    """
    try:
        data = path.read_bytes()
        lines = data.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--requirements {path} cannot be read ({error}): name another") from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if _LOGIN_IN_URL.search(line):
            raise ConfigError(
                f"--requirements {path}, line {number}: a login in it; machines would keep it in "
                "plain sight. Use an index that needs none"
            )
        if _ELSEWHERE.match(line):
            raise ConfigError(
                f"--requirements {path}, line {number}: {line!r} lies on this machine only; write "
                "packages out, and give your own modules by --include"
            )
    return _keep(data, ".txt", folder, (path.name,))


def unpack(archive: Path, folder: Path) -> None:
    """Make ``folder`` what was packed.

    Raises:
        ConfigError: it is no archive of ours.
        ResourceExhausted: ``folder`` cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise ConfigError(f"{archive} is no archive of ours ({error})") from None
    except OSError as error:
        raise ResourceExhausted(f"{folder} cannot be written ({error}): make room") from None


def _walk(root: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in _LEFT_OUT and not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix != ".pyc" and path.is_file():
                yield path


def _is_left_out(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return path.is_symlink() or any(part in _LEFT_OUT or part.startswith(".") for part in parts)


def _pack(root: Path, files: Iterable[Path], folder: Path) -> Archive:
    names = sorted(path.relative_to(root).as_posix() for path in files)
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            path = root / name
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
            _refuse_secret(path, data)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(data))
    packed = gzip.compress(tarred.getvalue(), compresslevel=9, mtime=0)
    return _keep(packed, ".tar.gz", folder, tuple(names))


def _refuse_secret(path: Path, data: bytes) -> None:
    is_code = path.suffix == ".py"  # credentials.py is a module about them
    if (_SECRET_NAME.fullmatch(path.name) and not is_code) or (
        path.suffix in _OF_CODE and _SECRET_TEXT.search(data[:_SCANNED_BYTES])
    ):
        raise ConfigError(
            f"{path} looks like a secret, and what travels to machines must hold none: move it "
            "elsewhere"
        )


def _keep(data: bytes, suffix: str, folder: Path, names: tuple[str, ...]) -> Archive:
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / f"{sha256}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ResourceExhausted(
            f"{path} cannot be written ({error.strerror}): name another folder"
        ) from None
    return Archive(sha256, path, names)
