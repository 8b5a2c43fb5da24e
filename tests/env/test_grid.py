"""Several generations side by side."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from env.film import Picture
from env.grid import columns_of, side_by_side
from env.playback import Shown

BELOW_CAPTION = 60


def episode(
    colour: int, num_pictures: int, shape: tuple[int, int] = (120, 200)
) -> Iterator[Picture]:
    for number in range(num_pictures):
        frame = np.full((*shape, 3), colour + number, np.uint8)
        yield Picture(frame, Shown(reward=float(number), steps=number, distance_m=0.5))


def test_a_grid_is_over_with_its_longest_film_and_those_that_ended_stay_dimmed() -> None:
    frames = list(
        side_by_side(["generation 0", "generation 9"], [episode(100, 2), episode(200, 4)])
    )
    assert len(frames) == 4
    assert {frame.shape for frame in frames} == {(120, 404, 3)}
    left = [int(frame[BELOW_CAPTION, 100, 0]) for frame in frames]
    right = [int(frame[BELOW_CAPTION, 300, 0]) for frame in frames]
    assert right == [200, 201, 202, 203]
    assert left[:2] == [100, 101]
    assert left[2] == left[3] < 70, "the last picture, darker"


def test_every_tile_has_its_caption_also_when_it_has_ended() -> None:
    frames = list(side_by_side(["generation 0", "generation 9"], [episode(90, 1), episode(90, 2)]))
    for frame in frames:
        for tile in (frame[:BELOW_CAPTION, :200], frame[:BELOW_CAPTION, 204:]):
            assert (tile > 240).all(axis=2).sum() > 100, "white letters"


@pytest.mark.parametrize(
    ("num_tiles", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4)]
)
def test_a_few_stand_in_a_row_and_many_in_a_square(num_tiles: int, columns: int) -> None:
    assert columns_of(num_tiles) == columns


@pytest.mark.parametrize("num_tiles", [3, 16])
def test_tiles_are_made_small_enough_for_a_screen_and_keep_their_shape(num_tiles: int) -> None:
    films = [episode(5 * n, 1, (480, 640)) for n in range(num_tiles)]
    (frame,) = side_by_side([f"generation {1000 * n}" for n in range(num_tiles)], films)
    height, width, _ = frame.shape
    assert (width, height) <= (1920, 1080)
    rows, columns = -(-num_tiles // columns_of(num_tiles)), columns_of(num_tiles)
    assert width * rows / (height * columns) == pytest.approx(4 / 3, abs=0.02)
