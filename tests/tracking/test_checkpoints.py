from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from errors import RunError
from tracking import checkpoints


def test_arrays_numbers_and_strings_come_back_to_the_bit(tmp_path: Path) -> None:
    theta = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    arrays = {"theta": theta, "strategy/step": 7, "strategy/kind": "adam"}
    read = checkpoints.read(checkpoints.write(tmp_path / "new", 123, arrays))
    assert read["theta"].dtype == np.float32
    assert read["theta"].tobytes() == theta.tobytes()
    assert int(read["strategy/step"]) == 7
    assert str(read["strategy/kind"]) == "adam"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["generation_000123.npz"]


def test_python_objects_are_refused_and_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Python objects"):
        checkpoints.write(tmp_path, 1, {"theta": np.array([object()])})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path, 1, {"theta": np.zeros(100, np.float32)})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunError, match=r"generation_000001\.npz cannot be read"):
        checkpoints.read(path)


def test_a_pickled_object_in_the_archive_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "generation_000001.npz"
    np.savez(path, theta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RunError, match="cannot be read"):
        checkpoints.read(path)


def test_numbers_are_found_in_order_whatever_else_lies_there(tmp_path: Path) -> None:
    for number in (20, 3, 1_000_000):
        checkpoints.write(tmp_path, number, {"theta": np.zeros(1, np.float32)})
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".generation_000007.npz.99").write_text("half")
    assert checkpoints.numbers(tmp_path) == [3, 20, 1_000_000]
    assert checkpoints.numbers(tmp_path / "nowhere") == []
