"""Archives brought to the bucket: once for each content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.exceptions

from cluster.aws.bucket import ARCHIVE_DAYS
from cluster.aws.session import Aws, code_of
from cluster.spec import ClusterSpec
from errors import ConfigError

BOOT_SCRIPT = Path(__file__).resolve().parents[1] / "machine" / "boot.sh"

_FRESH = timedelta(days=ARCHIVE_DAYS / 2)
"""What is older is put again: it must not expire under a cluster that still starts machines."""


def upload_archives(
    aws: Aws,
    bucket: str,
    spec: ClusterSpec,
    archives: Mapping[str, Path],
    now_s: float,
    say: Callable[[str], None],
) -> None:
    """Have every archive that a spec names in the bucket.

    Raises:
        ConfigError: one is not among ``archives``, or has another content than its name says.
    """
    for folder, digest, end in (
        ("source", spec.source, "tar.gz"),
        ("include", spec.include, "tar.gz"),
        ("requirements", spec.requirements, "txt"),
    ):
        if digest is None:
            continue
        if digest not in archives:
            raise ConfigError(f"the {folder} archive {digest[:12]} is not there: launch again")
        _upload(aws, bucket, f"{folder}/{digest}.{end}", archives[digest], digest, now_s, say)


def upload_boot(aws: Aws, bucket: str, now_s: float, say: Callable[[str], None]) -> str:
    """Have the boot script in the bucket; its sha256."""
    digest = hashlib.sha256(BOOT_SCRIPT.read_bytes()).hexdigest()
    _upload(aws, bucket, f"boot/{digest}.sh", BOOT_SCRIPT, digest, now_s, say)
    return digest


def _upload(
    aws: Aws,
    bucket: str,
    key: str,
    path: Path,
    digest: str,
    now_s: float,
    say: Callable[[str], None],
) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ConfigError(f"{path} has changed since it was packed: launch again")
    if _is_fresh(aws, bucket, key, path.stat().st_size, now_s):
        return
    say(f"uploading {key} ({path.stat().st_size / 1e6:.1f} MB)")
    aws.s3.upload_file(str(path), bucket, key)


def _is_fresh(aws: Aws, bucket: str, key: str, size: int, now_s: float) -> bool:
    try:
        there = aws.s3.head_object(Bucket=bucket, Key=key)
    except botocore.exceptions.ClientError as error:
        if code_of(error) in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    age = datetime.fromtimestamp(now_s, UTC) - there["LastModified"]
    return bool(there["ContentLength"] == size and age < _FRESH)
