"""Files of policies to keep and pass on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from env.gait_file import Gait, check_gait_place, read_gait, write_gait
from env.spec import EnvSpec
from errors import ConfigError, ResourceExhausted
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics

ENV = EnvSpec("OpenSimWalk2D-v0", options={"preset": "fast"})
POLICY = PolicySpec("reflex", options={"mode": "2D"})


def gait(statistics: ObservationStatistics | None = None) -> Gait:
    theta = np.random.default_rng(1).standard_normal(37).astype(np.float32)
    return Gait.of(ENV, POLICY, theta, statistics, {"reward": 197.5, "by": "OpenAI-ES"})


def test_what_was_written_is_read_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gait.json"
    moments = ObservationStatistics.observed(np.random.default_rng(2).standard_normal((9, 5)))
    write_gait(path, gait(moments))
    back = read_gait(path)
    assert back == gait(moments)
    assert back.theta_d.tobytes() == gait().theta_d.tobytes()
    assert back.statistics == moments
    assert back.env == ENV
    assert back.policy == POLICY


def test_a_gait_without_moments_has_none(tmp_path: Path) -> None:
    write_gait(tmp_path / "g.json", gait())
    assert read_gait(tmp_path / "g.json").statistics is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1, 2]",
        '{"env": {"name": "X"}, "policy": {}, "theta": []}',
        '{"env": {"name": "X"}, "policy": {}, "theta": [1e99]}',
        '{"env": {"name": "X"}, "policy": {}, "theta": [1], "format": 9}',
        '{"env": {"name": "X"}, "policy": {}, "theta": [1], "colour": "red"}',
    ],
)
def test_what_is_no_gait_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.json is no gait") as caught:
        read_gait(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no gait in .*none\.json"):
        read_gait(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceExhausted, match="cannot be written"):
        write_gait(tmp_path / "file" / "gait.json", gait())


def test_a_gait_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "gait.json"
    write_gait(path, gait())
    text = path.read_text()
    with path.open() as earlier:
        write_gait(path, gait(ObservationStatistics.observed(np.ones((2, 5)))))
        assert earlier.read() == text
    assert path.read_text() != text
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_is_refused_before_there_is_anything_to_write(tmp_path: Path) -> None:
    path = tmp_path / "gait.json"
    check_gait_place(path)
    check_gait_place(tmp_path / "new" / "folder" / "gait.json")
    path.touch()
    check_gait_place(path)
    with pytest.raises(ConfigError, match="is no file: name one"):
        check_gait_place(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be written, as nothing in .*: name another"):
        check_gait_place(path / "gait.json")
    assert list(tmp_path.iterdir()) == [path]
