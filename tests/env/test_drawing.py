"""Frames, captions, videos, and the walker's pictures."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from env.drawing import Frame, Window, caption, frame_stride, write_video
from errors import ConfigError, ResourceExhausted


def frames(count: int, shape: tuple[int, int] = (48, 64)) -> Iterator[Frame]:
    for i in range(count):
        frame = np.zeros((*shape, 3), np.uint8)
        frame[:, : 4 * i] = (250, 10, 10)
        yield frame


def read_mp4(path: Path, shape: tuple[int, int]) -> tuple[str, np.ndarray]:
    """What ffmpeg says of a file, and its ``(T, H, W, 3)`` frames."""
    found = subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-i",
            str(path),
            *["-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        ],
        capture_output=True,
        check=True,
    )
    frames_thw3 = np.frombuffer(found.stdout, np.uint8).reshape(-1, *shape, 3)
    return found.stderr.decode(), frames_thw3


@pytest.mark.parametrize(
    ("steps_per_s", "expected"), [(100, (4, 25)), (50, (2, 25)), (20, (1, 20)), (30, (2, 15))]
)
def test_frames_play_in_real_time_at_no_more_than_25_a_second(
    steps_per_s: float, expected: tuple[int, float]
) -> None:
    assert frame_stride(steps_per_s) == expected


def test_frames_come_as_often_as_is_asked_for_and_still_play_in_real_time() -> None:
    assert frame_stride(100, 1) == (1, 100)
    assert frame_stride(100, 8) == (8, 12.5)


def test_an_mp4_holds_every_frame_at_its_speed_also_of_an_odd_size(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    assert write_video(out, frames(12, (47, 63)), 25) == 12
    about, read = read_mp4(out, (48, 64))
    assert "25 fps" in about
    assert "h264" in about
    assert "64x48" in about
    assert len(read) == 12
    assert read[10][20, 10, 0] > 180
    assert read[10][20, 60, 0] < 60
    assert list(tmp_path.iterdir()) == [out]


def test_a_gif_holds_every_frame_and_loops(tmp_path: Path) -> None:
    out = tmp_path / "film.gif"
    assert write_video(out, frames(5), 20) == 5
    with Image.open(out) as gif:
        assert gif.n_frames == 5  # type: ignore[attr-defined]
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 50


def test_a_gif_keeps_the_colour_of_something_small_before_a_large_sky(tmp_path: Path) -> None:
    sky = np.linspace(150, 250, 480)[:, None, None]
    frame = np.broadcast_to(sky, (480, 640, 3)).astype(np.uint8).copy()
    frame[..., 0] -= 20
    frame[300:310, 400:410] = (10, 220, 10)
    frame[100:200, 300:303] = (230, 20, 20)
    write_video(tmp_path / "film.gif", iter([frame, frame[:, ::-1]]), 25)
    with Image.open(tmp_path / "film.gif") as gif:
        seen = np.asarray(gif.convert("RGB")).astype(int)
    assert seen[305, 405] == pytest.approx([10, 220, 10], abs=20)
    assert seen[150, 301] == pytest.approx([230, 20, 20], abs=20)


def test_a_film_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(3)
        raise ConfigError("the simulator is gone")

    for name in ("film.mp4", "film.gif"):
        with pytest.raises(ConfigError, match="gone"):
            write_video(tmp_path / name, broken(), 25)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for name, says in (("film.avi", r"\.mp4 or \.gif"), ("no/where/film.mp4", "no folder")):
        with pytest.raises(ConfigError, match=says):
            write_video(tmp_path / name, frames(2), 25)
    (tmp_path / "taken.gif").mkdir()
    with pytest.raises(ResourceExhausted, match="cannot write") as caught:
        write_video(tmp_path / "taken.gif", frames(2), 25)
    assert "\n" not in str(caught.value)


def test_a_caption_is_written_on_a_copy_and_only_along_the_upper_edge() -> None:
    frame = np.full((100, 300, 3), 200, np.uint8)
    written = caption(frame, "1.20 s     reward 19.0")
    assert (frame == 200).all()
    assert (written[40:] == 200).all()
    assert (written[:28] == 255).any()
    assert (written[:28] < 120).any()


def test_a_caption_is_made_small_enough_for_its_picture_and_may_have_two_lines() -> None:
    line = "generation 1000     10.00 s     12.34 m     reward -123.4"
    for width in (320, 700):
        written = caption(np.full((120, width, 3), 100, np.uint8), "generation 0", line)
        letters = np.flatnonzero((written > 150).all(axis=2).any(axis=0))
        assert 250 < letters.max() < width - 5, "all of the line, and a margin"
    with_one = caption(np.full((120, 700, 3), 100, np.uint8), line)
    assert (with_one[30:] == 100).all()
    assert (written[30:45] < 100).any()


def test_a_window_shows_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window("a test")
    for frame in frames(3):
        window.show(frame, 1000)
    window.close()
