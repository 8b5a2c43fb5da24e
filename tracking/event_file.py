"""TensorBoard event files, written without TensorFlow, torch or a background thread.

Only TensorBoard's message definitions are imported (50 ms); its own writer pulls in a file layer
with boto3 and a thread whose errors surface elsewhere. A file is a sequence of TFRecords: length,
masked CRC-32C of the length, bytes, masked CRC-32C of the bytes.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2

# Reflected Castagnoli polynomial (RFC 3720, section 12.1).
_POLYNOMIAL = 0x82F63B78
# Added after rotation so that a record which contains CRCs still has a sound CRC of its own.
_MASK = 0xA282EAD8


def _table_row(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_table_row(byte) for byte in range(256))


def masked_crc32c(data: bytes) -> int:
    """CRC-32C of ``data``, rotated and masked as TFRecord wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


class EventFile:
    """Scalars for TensorBoard, one event a step, in a new file under ``directory``.

    Raises:
        OSError: the file cannot be made or written.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        # TensorBoard reads the files of a directory in the order of their names: nanoseconds keep
        # a resume within the same second behind the file it continues.
        name = f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}.{os.getpid()}"
        self._file = (directory / name).open("xb")
        self._write(event_pb2.Event(wall_time=clock(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write ``values`` by tag at ``step`` and hand them to the operating system."""
        summary = summary_pb2.Summary(
            value=[
                summary_pb2.Summary.Value(tag=tag, simple_value=value)
                for tag, value in values.items()
            ]
        )
        self._write(event_pb2.Event(wall_time=self._clock(), step=step, summary=summary))

    def forget_from(self, step: int) -> None:
        """Make TensorBoard drop what earlier files of the directory said of ``step`` and later."""
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(event_pb2.Event(wall_time=self._clock(), step=step, session_log=start))

    def close(self) -> None:
        self._file.close()

    def _write(self, event: event_pb2.Event) -> None:
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        record = (
            length
            + struct.pack("<I", masked_crc32c(length))
            + data
            + struct.pack("<I", masked_crc32c(data))
        )
        self._file.write(record)
        self._file.flush()
