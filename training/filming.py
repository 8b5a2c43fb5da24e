"""Videos of a run while it goes on, each made by a spare process of low priority.

::

    runs/12/videos/generation_000050.mp4

A video is never waited for. There is one process at a time: a generation whose turn comes while the
one before is still being filmed has no video. It ends with the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from env.drawing import has_ffmpeg
from env.gait_file import Gait, write_gait
from env.spec import EnvSpec
from errors import ConfigError, EsError
from fleet.child_process import cause_of, inherited_environment
from policy.spec import PolicySpec
from policy.statistics import ObservationStatistics
from search.arithmetic import THREAD_VARIABLES

FOLDER = "videos"
PROCESS = "training.film_process"
# With less it would never come to an end beside workers that fill every core.
_NICENESS = 10
_GIVE_UP_S = 1800.0
_REMOVALS, _REMOVAL_S = 20, 0.02
# How Mesa draws, where there is no graphics card: else by a thread a core.
_THREADS = dict.fromkeys((*THREAD_VARIABLES, "LP_NUM_THREADS"), "1")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


class Filming:
    """Fulfils ``search.protocol.Recorder``: films the kept generations that are multiples of
    ``every``.

    Args:
        env, policy: of the run.
        folder: where the videos go.
        every: generations from one video to the next.
        seed: of the episode, which is the same for all.
        include: folder of the user's own modules.
        register: told the file of each video when it is there.
        notice: told, in a line each, what a user should know. Nothing here is an error to a run.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        env: EnvSpec,
        policy: PolicySpec,
        *,
        folder: Path,
        every: int,
        seed: int,
        include: Path | None,
        register: Callable[[Path], None],
        notice: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._env, self._policy = env, policy
        self._folder, self._every, self._seed = folder, every, seed
        self._include = include
        self._register, self._tell = register, notice
        self._clock = clock
        self._suffix = ".mp4" if has_ffmpeg() else ".gif"
        self._film: _Film | None = None
        self._is_over = False
        self._skipped: list[int] = []
        self._told: set[str] = set()
        for left_over in folder.glob(".generation_*"):  # by a head that was killed
            _remove(left_over)

    def progress(self, number: int, done: int, total: int, status: object) -> None:
        """Look whether a video is there by now."""
        self._look()

    def generation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Nothing to film yet: a generation that is to be kept comes as a checkpoint."""

    def times(self, times: object) -> None:
        """Nothing to see."""

    def checkpoint(
        self, number: int, arrays: Mapping[str, Any], *, is_best: bool, is_last: bool
    ) -> None:
        """Have the generation filmed if it is its turn and nothing else is being filmed."""
        self._look()
        if number % self._every or is_last or self._is_over:
            return
        if self._film is not None:
            self._skipped.append(number)
            return
        try:
            self._film = self._begin(number, arrays)
        except (OSError, EsError) as error:
            self._say(f"no video of generation {number}: {error}")

    def notice(self, line: str) -> None:
        """Nothing to see."""

    def close(self) -> None:
        """End whatever is being filmed. May be called twice."""
        self._look()
        if self._film is not None:
            self._film.end()
            self._skipped.append(self._film.number)
            self._film = None
        if self._skipped:
            numbers = ", ".join(map(str, sorted(self._skipped)))
            self._tell(
                f"no video of generation {numbers}: the one before was still being made, or the "
                "run was over first"
            )
            self._skipped = []
        self._is_over = True

    def __enter__(self) -> Filming:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self, number: int, arrays: Mapping[str, Any]) -> _Film:
        self._folder.mkdir(exist_ok=True)
        statistics = None
        if self._policy.normalize_observations and "count" in arrays:
            moments = (int(arrays["count"]), np.asarray(arrays["mean"]), np.asarray(arrays["m2"]))
            statistics = ObservationStatistics.of(*moments)
        gait = Gait.of(self._env, self._policy, np.asarray(arrays["theta"]), statistics, {})
        out = self._folder / f"generation_{number:06d}{self._suffix}"
        return _Film(number, gait, out, self._seed, self._include, self._clock)

    def _look(self) -> None:
        film = self._film
        if film is None or not film.is_over():
            return
        self._film = None
        *notices, last = film.said or [""]
        for line in notices:
            self._say(line)
        if film.code == 0:
            try:
                self._register(film.out)
            except Exception as error:  # a store that cannot be written hurts no run
                self._say(f"{film.out.name} is no artifact of this run: {error}")
            return
        reason = last or f"its process {cause_of(film.code)}"
        if film.code == ConfigError.exit_code:
            self._is_over = True
            self._say(f"no videos of this run: {reason}")
        else:
            self._say(f"no video of generation {film.number}: {reason}")

    def _say(self, line: str) -> None:
        """Once: what keeps one video from being made may keep every other from it too."""
        if line not in self._told:
            self._told.add(line)
            self._tell(line)


class _Film:
    """One process, from its start to its end.

    Attributes:
        number: of the generation.
        out: the video.
        code: what the process left with, and ``said``, its lines, once `is_over`.
    """

    def __init__(
        self,
        number: int,
        gait: Gait,
        out: Path,
        seed: int,
        include: Path | None,
        clock: Callable[[], float],
    ) -> None:
        self.number, self.out = number, out
        self.code = 0
        self.said: list[str] = []
        self._clock = clock
        self._began_s = clock()
        # Until the video is whole all is in a folder of its own, which goes when it is over: what
        # is still being written by then has no place any more.
        self._folder = out.with_name(f".{out.stem}")
        self._gait, self._unfinished = self._folder / "gait.json", self._folder / out.name
        write_gait(self._gait, gait)
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by _clear
        # Only we can write to it: at our end, however it comes, the kernel ends the process, and
        # the encoder that it has started.
        lifeline, self._ours = os.pipe()
        try:
            self._process = self._start(seed, include, lifeline)
        except OSError:
            self._clear()
            raise
        finally:
            os.close(lifeline)

    def _start(self, seed: int, include: Path | None, lifeline: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", PROCESS, str(self._gait), str(self._unfinished)]
        command += ["--seed", str(seed), "--parent-pid", str(os.getpid())]
        command += ["--lifeline-fd", str(lifeline)]
        if include is not None:
            command += ["--include", str(include)]
        environ = {n: value for n, value in inherited_environment().items() if n not in _DISPLAYS}
        # A group of its own, which Ctrl-C does not reach, but no session: Linux may share the
        # processor out by sessions first, and then the priority would count for nothing.
        process = subprocess.Popen(
            command,
            env={**environ, **_THREADS},
            pass_fds=[lifeline],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            process_group=0,
        )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        return process

    def is_over(self) -> bool:
        """Whether the process has left; it is ended where it takes far too long."""
        code = self._process.poll()
        if code is None and self._clock() - self._began_s > _GIVE_UP_S:
            self.end()
            self.code, self.said = -signal.SIGKILL, [f"it took more than {_GIVE_UP_S:.0f} s"]
            return True
        if code is None:
            return False
        self._output.seek(0)
        self.code = code
        self.said = self._output.read().decode(errors="replace").strip().splitlines()
        with suppress(OSError):
            self._unfinished.replace(self.out)
        self._clear()
        return True

    def end(self) -> None:
        """Kill the process and what it has started; nothing of it stays."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._clear()

    def _clear(self) -> None:
        os.close(self._ours)
        self._output.close()
        _remove(self._folder)


def _remove(folder: Path) -> None:
    """``folder`` with all that is in it, though something may still be written there."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_REMOVAL_S)
