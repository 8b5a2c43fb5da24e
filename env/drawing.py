"""Pictures of episodes: frames with a caption, made into an mp4, a gif or a window."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from errors import ConfigError, EsError, ResourceExhausted

Frame = NDArray[np.uint8]
"""``(H, W, 3)`` uint8, rows from the top."""

FRAMES_PER_S = 25
"""At most so many frames for a second of simulated time."""

INSTALL_GL = "apt-get install libegl1 libgl1-mesa-dri"
"""What lets VTK and MuJoCo draw off screen on Debian and Ubuntu."""

DARK = (20, 24, 30)
"""What captions stand on."""

_CAPTION_SIZE, _LEAST_CAPTION_SIZE, _MARGIN = 17, 9, 10


def frame_stride(steps_per_s: float, every: int | None = None) -> tuple[int, float]:
    """How many steps to a frame, ``every`` or as few as `FRAMES_PER_S` allows, and the frames a
    second that then play in real time.
    """
    stride = every or max(1, math.ceil(steps_per_s / FRAMES_PER_S - 1e-9))
    return stride, steps_per_s / stride


def caption(frame: Frame, *lines: str) -> Frame:
    """A copy of ``frame`` with ``lines`` on a dark strip along its upper edge, as large as fits."""
    image = Image.fromarray(frame)
    size = _CAPTION_SIZE
    while size > _LEAST_CAPTION_SIZE and _width(lines, size) > image.width - 2 * _MARGIN:
        size -= 1
    line_height = size + 4
    height = line_height * len(lines) + 7
    strip = Image.new("RGB", (image.width, height), DARK)
    image.paste(Image.blend(image.crop((0, 0, image.width, height)), strip, 0.6), (0, 0))
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        place = (_MARGIN, 4 + line_height * number)
        pen.text(place, line, font=_font(size), fill=(255, 255, 255))
    return np.asarray(image).copy()


def _width(lines: tuple[str, ...], size: int) -> float:
    return max(float(_font(size).getlength(line)) for line in lines)


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def check_video_name(out: Path) -> None:
    """Refuse what `write_video` could not write, before anything is simulated.

    Raises:
        ConfigError: another suffix than ``.mp4`` or ``.gif``, a folder that is not there, or no
            ffmpeg for an mp4.
    """
    if out.suffix.lower() not in (".mp4", ".gif"):
        raise ConfigError(f"out={out}: expected a name that ends in .mp4 or .gif")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: no folder {out.parent}")
    if out.suffix.lower() == ".mp4" and not has_ffmpeg():
        raise ConfigError(
            f"out={out}: an mp4 needs ffmpeg, and there is none: pip install imageio-ffmpeg (which "
            f"brings one), or write {out.stem}.gif"
        )


def has_ffmpeg() -> bool:
    """Whether an mp4 can be written here."""
    try:
        import imageio_ffmpeg

        return shutil.which(imageio_ffmpeg.get_ffmpeg_exe()) is not None
    except (ImportError, RuntimeError):  # RuntimeError: the package found none
        return False


def write_video(out: Path, frames: Iterable[Frame], frames_per_s: float) -> int:
    """Write ``frames``, all of one size, as they come, and return how many there were.

    Nothing is left at ``out`` unless all was written.

    Args:
        out: ``.mp4`` (H.264, plays everywhere) or ``.gif``.
        frames: at least one.
        frames_per_s: of playing.

    Raises:
        ConfigError: see `check_video_name`.
        ResourceExhausted: the file cannot be written.
    """
    check_video_name(out)
    unfinished = out.with_name(f".unfinished-{out.name}")
    write = _write_gif if out.suffix.lower() == ".gif" else _write_mp4
    try:
        count = write(unfinished, iter(frames), frames_per_s)
        unfinished.replace(out)
    except EsError:
        raise
    except OSError as error:
        reason = " ".join(str(error).split())[-200:]
        raise ResourceExhausted(f"cannot write {out}: {reason}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _write_mp4(out: Path, frames: Iterator[Frame], frames_per_s: float) -> int:
    import imageio_ffmpeg

    first = _even(next(frames))
    writer = imageio_ffmpeg.write_frames(
        str(out),
        (first.shape[1], first.shape[0]),
        fps=frames_per_s,
        codec="libx264",
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"],
    )
    writer.send(None)
    try:
        writer.send(first)
        count = 1
        for frame in frames:
            writer.send(_even(frame))
            count += 1
    finally:
        writer.close()
    return count


def _even(frame: Frame) -> Frame:
    """H.264 wants an even number of rows and columns."""
    rows, columns = frame.shape[0] % 2, frame.shape[1] % 2
    return np.ascontiguousarray(np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge"))


def _write_gif(out: Path, frames: Iterator[Frame], frames_per_s: float) -> int:
    count = 0

    def pictures() -> Iterator[Image.Image]:
        nonlocal count
        for frame in frames:
            count += 1
            # The default method spends the palette on the sky and leaves muscles grey.
            yield Image.fromarray(frame).quantize(
                256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
            )

    rest = pictures()
    first = next(rest)
    first.save(
        out,
        save_all=True,
        append_images=rest,
        duration=round(1000 / frames_per_s),
        loop=0,
    )
    return count


class WindowClosed(EsError):
    """The one who watched has closed the window."""


class Window:
    """A window that shows frames as they come, at the speed they were made for.

    Args:
        title: of the window.

    Raises:
        ConfigError: pygame is missing, or there is no display.
    """

    def __init__(self, title: str) -> None:
        try:
            import pygame
        except ImportError:
            raise ConfigError(
                "a window needs pygame: pip install pygame-ce; or name a file by --out"
            ) from None
        self._pygame = pygame
        self._title = title
        self._surface: Any = None
        self._clock = pygame.time.Clock()
        try:
            pygame.display.init()  # before an episode is simulated for nothing
        except pygame.error as error:
            raise _no_window(error) from None

    def show(self, frame: Frame, frames_per_s: float) -> None:
        """Show ``frame`` when it is due. Raises `WindowClosed` once the window is shut."""
        pygame = self._pygame
        if self._surface is None:
            try:
                self._surface = pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            except pygame.error as error:
                raise _no_window(error) from None
            pygame.display.set_caption(self._title)
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise WindowClosed("the window was closed")
        self._surface.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(frames_per_s)

    def close(self) -> None:
        """Shut the window."""
        self._pygame.display.quit()


def _no_window(error: Exception) -> ConfigError:
    return ConfigError(f"no window can be opened ({error}); name a file by --out FILE.mp4")
