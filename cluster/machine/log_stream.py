"""A log stream of CloudWatch, within the limits that AWS has for what is put there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import botocore.exceptions

from cluster.aws.session import Client, code_of, plainly

MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
MOST_EVENT_BYTES = 250_000
_EVENT_OVERHEAD_BYTES = 26
_THERE = "ResourceAlreadyExistsException"
_MISSING = "ResourceNotFoundException"
_ACCEPTED = ("DataAlreadyAcceptedException", "InvalidSequenceTokenException")

Event = dict[str, Any]


class LogStream:
    """A stream of a group that is there; the stream itself is made when it is first written to.

    Args:
        client: boto3's, of CloudWatch Logs.
        group, stream: its names.
        clock: seconds since 1970.
    """

    def __init__(
        self, client: Client, group: str, stream: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._group = group
        self._stream = stream
        self._clock = clock

    def send(self, lines: Iterable[str]) -> None:
        """Put ``lines`` there, as said now; empty ones say nothing.

        Raises:
            ServiceUnavailable: some or all were not taken; send them again.
        """
        now_ms = int(self._clock() * 1000)
        for batch in batches(lines, now_ms):
            with plainly():
                self._put(batch)

    def _put(self, batch: list[Event]) -> None:
        where = {"logGroupName": self._group, "logStreamName": self._stream}
        try:
            self._client.put_log_events(**where, logEvents=batch)
        except botocore.exceptions.ClientError as error:
            if code_of(error) in _ACCEPTED:
                return
            if code_of(error) != _MISSING:
                raise
            self._make(where)
            self._client.put_log_events(**where, logEvents=batch)

    def _make(self, where: dict[str, str]) -> None:
        try:
            self._client.create_log_stream(**where)
        except botocore.exceptions.ClientError as error:
            if code_of(error) != _THERE:
                raise


def batches(lines: Iterable[str], now_ms: int) -> Iterator[list[Event]]:
    """``lines`` as events, as many at once as AWS takes; a line that is too long is several."""
    batch: list[Event] = []
    size = 0
    for text in _pieces(lines):
        bytes_more = len(text.encode()) + _EVENT_OVERHEAD_BYTES
        if batch and (len(batch) == MOST_EVENTS or size + bytes_more > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append({"timestamp": now_ms, "message": text})
        size += bytes_more
    if batch:
        yield batch


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        data = line.encode(errors="replace")
        if len(data) <= MOST_EVENT_BYTES:
            if line.strip():
                yield line
            continue
        for start in range(0, len(data), MOST_EVENT_BYTES):
            yield data[start : start + MOST_EVENT_BYTES].decode(errors="ignore")
