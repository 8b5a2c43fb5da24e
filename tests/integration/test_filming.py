"""Videos of a run while it goes on: made beside it, never by it, never in its way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from training_process import ROOT, TrainingProcess

from env.spec import EnvSpec
from policy.spec import PolicySpec
from training.filming import FOLDER, Filming

PATIENCE_S = 200.0
CART_POLE = EnvSpec("CartPole-v1", max_ep_length=10)
THETA = {"theta": np.zeros(10, np.float32)}


class Watched:
    """What a `Filming` registered and said."""

    def __init__(self) -> None:
        self.videos: list[Path] = []
        self.said: list[str] = []

    def filming(self, folder: Path, env: EnvSpec = CART_POLE, *, every: int = 5) -> Filming:
        return Filming(
            env,
            PolicySpec("linear"),
            folder=folder / FOLDER,
            every=every,
            seed=3,
            include=folder,
            register=self.videos.append,
            notice=self.said.append,
        )


@pytest.fixture
def watched() -> Iterator[Watched]:
    yield Watched()
    assert films() == []


def films() -> list[psutil.Process]:
    """Every process that films for this one."""
    found = psutil.Process().children(recursive=True)
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE and "film" in " ".join(words(p))]


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.05)


def keep(filming: Filming, number: int) -> None:
    filming.checkpoint(number, THETA, is_best=False, is_last=False)


def look(filming: Filming) -> None:
    filming.progress(0, 0, 1, None)


def slow_env(folder: Path) -> EnvSpec:
    """An environment that never comes to the end of its first step."""
    (folder / "slow_env.py").write_text(
        "import gymnasium, time\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Slow(CartPoleEnv):\n"
        "    def step(self, action):\n"
        "        time.sleep(3600)\n"
        "gymnasium.register('Slow-v0', Slow, max_episode_steps=100)\n"
    )
    return EnvSpec("slow_env:Slow-v0")


@pytest.mark.timeout(300)  # filming comes last wherever there is something else to do
def test_a_run_has_its_videos_as_artifacts_and_keeps_what_they_show(tmp_path: Path) -> None:
    words = ("cartpole", "seed=3", "num_generations=100000", "pool=serial", "num_serializations=0")
    run = tmp_path / "1"

    def artifacts() -> list[str]:
        return list(json.loads((run / "run.json").read_text())["artifacts"])

    with TrainingProcess(tmp_path, *words, "max_ep_length=9", "render_every=20") as training:
        training.wait_for("generation ")
        wait_until(lambda: f"{FOLDER}/generation_000000.mp4" in artifacts())
        wait_until(lambda: len((run / "metrics.jsonl").read_text().splitlines()) > 21)
        training.process.send_signal(signal.SIGINT)
        training.finish()
    kept = {path.name for path in (run / "checkpoints").glob("*.npz")}
    assert {"generation_000000.npz", "generation_000020.npz"} <= kept
    videos = sorted(path.relative_to(run).as_posix() for path in (run / FOLDER).iterdir())
    assert [name for name in artifacts() if name.startswith(FOLDER)] == videos
    assert "no video of generation" in (run / "notices.jsonl").read_text()
    assert "Traceback" not in training.output


@pytest.mark.timeout(300)
def test_it_is_one_at_a_time_and_a_generation_that_comes_too_soon_is_skipped(
    tmp_path: Path, watched: Watched
) -> None:
    with watched.filming(tmp_path) as filming:
        for number in (0, 3, 5, 10):
            keep(filming, number)
        (film,) = films()
        assert psutil.Process().nice() < film.nice()
        wait_until(lambda: (look(filming), watched.videos)[1])
        assert films() == []
        keep(filming, 15)
        wait_until(lambda: (look(filming), len(watched.videos) == 2)[1])
    folder = tmp_path / FOLDER
    names = ["generation_000000.mp4", "generation_000015.mp4"]
    assert watched.videos == [folder / name for name in names]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert len(watched.said) == 1
    assert watched.said[0].startswith("no video of generation 5, 10: the one before was still")


def test_it_ends_with_the_run_and_leaves_nothing_half_done(
    tmp_path: Path, watched: Watched
) -> None:
    with watched.filming(tmp_path, slow_env(tmp_path)) as filming:
        keep(filming, 0)
        assert len(films()) == 1
    assert films() == []
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert watched.videos == []
    assert watched.said[0].startswith("no video of generation 0")
    keep(filming, 5)
    assert films() == [], "nor does it begin again"


def test_what_cannot_be_filmed_is_said_once_and_not_tried_again(
    tmp_path: Path, watched: Watched
) -> None:
    with watched.filming(tmp_path, EnvSpec("ALE/Pong-v5")) as filming:
        keep(filming, 0)
        wait_until(lambda: (look(filming), watched.said)[1])
        keep(filming, 5)
        assert films() == []
    says = "no videos of this run: environment ALE/Pong-v5 is not installed: pip install ale-py"
    assert watched.said == [says]


def test_a_film_that_breaks_off_costs_that_video_alone(tmp_path: Path, watched: Watched) -> None:
    with watched.filming(tmp_path) as filming:
        keep(filming, 0)
        (film,) = films()
        film.kill()
        wait_until(lambda: (look(filming), watched.said)[1])
        assert "no video of generation 0: its process was ended by SIGKILL" in watched.said
        keep(filming, 5)
        assert len(films()) == 1


def test_nothing_films_on_when_the_head_is_killed(tmp_path: Path) -> None:
    slow_env(tmp_path)
    program = (
        "import sys, time; sys.path.insert(0, 'tests/integration')\n"
        "from pathlib import Path\n"
        "from test_filming import EnvSpec, Watched, films, keep\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "filming = Watched().filming(folder, EnvSpec('slow_env:Slow-v0'))\n"
        "keep(filming, 0)\n"
        "print(films()[0].pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    head = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert head.stdout is not None
        film = psutil.Process(int(head.stdout.readline()))
        assert film.is_running()
    finally:
        os.kill(head.pid, signal.SIGKILL)
        head.communicate()
    wait_until(lambda: not film.is_running() or film.status() == psutil.STATUS_ZOMBIE)
    # What it left half done goes when the run goes on.
    Watched().filming(tmp_path).close()
    assert list((tmp_path / FOLDER).iterdir()) == []
