"""TensorBoard reads our event files with its own reader."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracking.event_file import EventFile, masked_crc32c


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_the_checksum_is_castagnolis_with_tfrecords_mask() -> None:
    # CRC-32C of "123456789" is E3069283 (RFC 3720, B.4 gives the polynomial's other vectors).
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    zeros = 0x8A9136AA  # 32 bytes of zeros, RFC 3720, B.4
    assert masked_crc32c(bytes(32)) == ((zeros >> 15 | zeros << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_tensorboard_reads_back_what_was_written_before_the_file_is_closed(tmp_path: Path) -> None:
    events = EventFile(tmp_path / "tensorboard")
    for step in range(3):
        events.scalars(step, {"fitness/mean": step * 1.5, "time/elapsed_s": float(step)})
    assert scalars(tmp_path / "tensorboard", "fitness/mean") == [(0, 0.0), (1, 1.5), (2, 3.0)]
    events.close()


def test_a_second_file_can_make_tensorboard_forget_steps_of_the_first(tmp_path: Path) -> None:
    first = EventFile(tmp_path)
    for step in range(5):
        first.scalars(step, {"x": 1.0})
    first.close()
    second = EventFile(tmp_path)
    second.forget_from(3)
    second.scalars(3, {"x": 2.0})
    second.close()
    assert scalars(tmp_path, "x") == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0)]
