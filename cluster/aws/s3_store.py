"""A cluster's place in a bucket of S3: the files under one prefix."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import botocore.exceptions
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig

from cluster.aws.session import Client, code_of, pages, plainly
from cluster.store import Entry
from errors import ConfigError, ServiceUnavailable

_MIB = 2**20
_LARGE_BYTES = 32 * _MIB
_PARTS = TransferConfig(
    multipart_threshold=_LARGE_BYTES, multipart_chunksize=16 * _MIB, max_concurrency=4
)
_DELETED_AT_ONCE = 1000  # S3's limit
_ABSENT = ("NoSuchKey", "404", "NotFound")
_DENIED = ("AccessDenied", "403")


class S3Store:
    """See `cluster.store.Store`. S3 shows all of an object or none of it, to whoever asks after it
    was written.

    Args:
        client: boto3's, of S3.
        bucket: the account's.
        prefix: the cluster's place in it; a slash follows.
    """

    def __init__(self, client: Client, bucket: str, prefix: str) -> None:
        self._client, self._bucket = client, bucket
        self._prefix = prefix.strip("/") + "/"

    @classmethod
    def at(cls, url: str, client: Client) -> S3Store:
        """The store that ``s3://BUCKET/PREFIX`` names.

        Raises:
            ConfigError: it names none.
        """
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or not prefix.strip("/"):
            raise ConfigError(f"store {url!r}: expected s3://BUCKET/PREFIX")
        return cls(client, bucket, prefix)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`; what is large goes in parts."""
        where = {"Bucket": self._bucket, "Key": self._key(key)}
        with _plainly():
            if len(data) > _LARGE_BYTES:
                self._client.upload_fileobj(BytesIO(data), **where, Config=_PARTS)
            else:
                self._client.put_object(**where, Body=data)

    def put_file(self, key: str, path: Path) -> None:
        """See `Store.put_file`."""
        if path.stat().st_size <= _LARGE_BYTES:
            # Read here, once: one that grows while it is sent would be refused.
            self.put(key, path.read_bytes())
            return
        where = {"Bucket": self._bucket, "Key": self._key(key)}
        with _plainly():
            self._client.upload_file(str(path), **where, Config=_PARTS)

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        with _plainly():
            body = self._body(key)
            if body is None:
                return None
            with body:
                data: bytes = body.read()
            return data

    def get_file(self, key: str, path: Path) -> bool:
        """See `Store.get_file`."""
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".aside-")
        try:
            with os.fdopen(descriptor, "wb") as file, _plainly():
                body = self._body(key)
                if body is None:
                    return False
                with body:
                    for chunk in body.iter_chunks(_MIB):
                        file.write(chunk)
            Path(aside).replace(path)
        finally:
            Path(aside).unlink(missing_ok=True)
        return True

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.entries`."""
        where = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        with _plainly():
            for found in pages(self._client, "list_objects_v2", "Contents", **where):
                yield Entry(str(found["Key"]).removeprefix(self._prefix), int(found["Size"]))

    def delete(self, prefix: str) -> None:
        """See `Store.delete`."""
        keys = [{"Key": self._prefix + entry.key} for entry in self.entries(prefix)]
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            batch = {"Objects": keys[start : start + _DELETED_AT_ONCE], "Quiet": True}
            with _plainly():
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=batch)
            for refused in answer.get("Errors", ()):
                raise ServiceUnavailable(
                    f"{refused.get('Key')} cannot be deleted ({refused.get('Code')}): try again"
                )

    def _body(self, key: str) -> Any:
        """None: there is no such object."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
        except botocore.exceptions.ClientError as error:
            if self._is_absent(error, key):
                return None
            raise

    def _is_absent(self, error: botocore.exceptions.ClientError, key: str) -> bool:
        """Who may list only under a prefix is told that it is denied what is not there."""
        code = code_of(error)
        if code in _DENIED:
            return all(entry.key != key for entry in self.entries(key))
        return code in _ABSENT

    def _key(self, key: str) -> str:
        if not key or key.startswith("/") or ".." in key.split("/"):
            raise ConfigError(f"{key!r} is no key of a store")
        return self._prefix + key


@contextmanager
def _plainly() -> Iterator[None]:
    """As `plainly`, and what uploads in parts raise."""
    try:
        with plainly():
            yield
    except Boto3Error as error:
        raise ServiceUnavailable(
            f"the bucket cannot be written to ({' '.join(str(error).split())[:300]}): try again"
        ) from error
