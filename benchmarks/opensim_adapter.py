"""What our OpenSim adapter costs beside osim-rl's own code, and what more workers bring.

``python benchmarks/opensim_adapter.py`` (an ``opensim.py`` would hide the package of that name from
every script beside it) prints simulator steps per second of processor time, of osim-rl's
own classes with only what they need to run today (`rivals.original_osim_rl`), of ours at the same
integrator and accuracy, and of ours at the fast preset.

All run the same actions, each in a process of its own (which of OpenSim's libraries is loaded first
matters, see `env.musculoskeletal.model`), and take turns, a whole episode each, so that a busy
machine slows all alike; the ratio is the median over the turns. Random actions are uniform in
[0, 1], drawn anew for each step; ``gait`` replays what the reflex controller did in one walk of
``examples/gaits/walk2d.json``. At the same integrator both see the same states to the bit.

Then one worker against two: steps per second of wall time of so many processes at the fast preset.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import click
import gymnasium
import numpy as np
from numpy.typing import NDArray

from env import registry
from env.gait_file import read_gait
from env.musculoskeletal.kernels import VARIABLE, opensim_kernels
from env.spec import EnvSpec
from policy.actor import build_actor
from search.arithmetic import use_one_thread

ROOT = Path(__file__).resolve().parents[1]
GAIT = ROOT / "examples" / "gaits" / "walk2d.json"

Actions = NDArray[np.float64]


class Row(NamedTuple):
    """An environment, where its actions come from, and the ratios to reach."""

    env_name: str
    actions: str
    target: float | None = None
    fast_target: float = 2.0
    is_of_215: bool = False


ROWS = (
    Row("OpenSimWalk2D-v0", "random", 1.15),
    Row("OpenSimWalk2D-v0", "gait", 1.15),
    Row("OpenSimWalk3D-v0", "random", 1.15),
    Row("OpenSimRun-v0", "random", is_of_215=True),
    Row("OpenSimProsthetics-v0", "random", is_of_215=True),
    Row("OpenSimArm2D-v0", "random"),
)


PRESETS = ("exact", "fast")


class Turn(NamedTuple):
    """Steps per second of processor time and of wall time."""

    cpu_rate: float
    wall_rate: float


class Player:
    """A process that plays the same actions in our environment, a turn each time it is asked."""

    def __init__(self, preset: str, row: Row, actions_file: Path) -> None:
        command = [sys.executable, __file__, "--play", preset, row.env_name, str(actions_file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin_turn(self) -> None:
        """Let it play; it goes on by itself."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end_turn(self) -> Turn:
        """Wait for what it measured."""
        assert self._process.stdout is not None
        cpu_rate, wall_rate = self._process.stdout.readline().split()
        return Turn(float(cpu_rate), float(wall_rate))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def play(preset: str, env_name: str, actions_file: Path) -> None:
    """Be a player, until nobody asks any more."""
    actions = np.load(actions_file)
    env = registry.make(EnvSpec(env_name, options={"preset": preset}))
    for _ in sys.stdin:
        turn = timed(env, actions)
        print(turn.cpu_rate, turn.wall_rate, flush=True)


def timed(env: gymnasium.Env[Any, Any], actions: Actions) -> Turn:
    """Play the actions once; an episode that ends early begins again, uncounted."""
    env.reset(seed=0)
    cpu_s = wall_s = 0.0
    for action in actions:
        cpu_began_s, wall_began_s = time.process_time(), time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        cpu_s += time.process_time() - cpu_began_s
        wall_s += time.perf_counter() - wall_began_s
        if terminated or truncated:
            env.reset(seed=0)
    return Turn(len(actions) / cpu_s, len(actions) / wall_s)


@click.command()
@click.option("--steps", default=60, show_default=True, type=click.IntRange(2))
@click.option("--turns", default=5, show_default=True, type=click.IntRange(1))
@click.option(
    "--env",
    "envs",
    type=click.Choice([row.env_name for row in ROWS]),
    multiple=True,
    help="One alone; may come again.",
)
@click.option("--python215", help="A Python with osim-rl 2.1.5, for Run and Prosthetics.")
@click.option("--play", "playing", nargs=3, hidden=True, help="Be a player.")
def main(
    steps: int,
    turns: int,
    envs: tuple[str, ...],
    python215: str | None,
    playing: tuple[str, str, str] | None,
) -> None:
    """Measure our OpenSim environments against osim-rl's."""
    use_one_thread()
    if playing is not None:
        play(playing[0], playing[1], Path(playing[2]))
        return
    print(f"steps per cpu-second, medians of {turns} turns of {steps} steps; load {load():.1f}")
    print(
        f"{'environment':22}{'actions':>8}{'osim-rl':>9}{'ours':>7}{'ratio':>7}{'target':>8}"
        f"{'fast':>7}{'ratio':>7}{'target':>8}{'load':>6}"
    )
    for row in ROWS:
        if not envs or row.env_name in envs:
            python = python215 if row.is_of_215 else sys.executable
            print(measured_line(row, steps, turns, python), flush=True)
    print(
        f"two processes against one, fast preset, gait: {two_against_one(steps, turns):.2f} times"
    )


def measured_line(row: Row, steps: int, turns: int, python: str | None) -> str:
    """Measure the row, and say so in a line; without the original where there is none."""
    original, own = measure(row, steps, turns, python)
    text = f"{row.env_name:22}{row.actions:>8}"
    text += f"{statistics.median(original):9.1f}" if original else f"{'(2.1.5)':>9}"
    for preset, target in zip(PRESETS, (row.target, row.fast_target), strict=True):
        text += f"{statistics.median(own[preset]):7.1f}"
        ratios = [ours / theirs for ours, theirs in zip(own[preset], original, strict=False)]
        text += f"{statistics.median(ratios):7.2f}" if ratios else f"{'':7}"
        text += f"{target:8.2f}" if target else f"{'':8}"
    return f"{text}{load():6.1f}"


def measure(
    row: Row, steps: int, turns: int, python: str | None
) -> tuple[list[float], dict[str, list[float]]]:
    """Rates of the original and of ours by preset, turn by turn; the first warms up."""
    # Only in the process that plays nothing itself: it imports opensim first, and so binds its
    # libraries as whoever uses osim-rl has them.
    from rivals.original_osim_rl import OriginalProcess

    with ExitStack() as stack:
        file = actions_file(row, steps, stack)
        players = {preset: Player(preset, row, file) for preset in PRESETS}
        for player in players.values():
            stack.callback(player.close)
        kernels = {VARIABLE: opensim_kernels()}  # as ours, or the numbers would be others
        theirs = OriginalProcess(row.env_name, python, kernels) if python else None
        if theirs:
            stack.callback(theirs.close)
        original: list[float] = []
        own: dict[str, list[float]] = {preset: [] for preset in PRESETS}
        for _ in range(turns + 1):
            if theirs:
                original.append(theirs.rate(np.load(file)))
            for preset, player in players.items():
                player.begin_turn()
                own[preset].append(player.end_turn().cpu_rate)
    return original[1:], {preset: rates[1:] for preset, rates in own.items()}


def two_against_one(steps: int, turns: int) -> float:
    """How many times the steps of one process two make in the same time."""
    row = Row("OpenSimWalk2D-v0", "gait")
    with ExitStack() as stack:
        file = actions_file(row, steps, stack)
        players = [Player("fast", row, file) for _ in range(2)]
        for player in players:
            stack.callback(player.close)
        ratios = []
        for _ in range(turns + 1):
            players[0].begin_turn()
            alone = players[0].end_turn().wall_rate
            for player in players:
                player.begin_turn()
            together = sum(player.end_turn().wall_rate for player in players)
            ratios.append(together / alone)
    return statistics.median(ratios[1:])


def actions_file(row: Row, steps: int, stack: ExitStack) -> Path:
    """The row's actions in a file that lasts as long as ``stack``."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    np.save(folder / "actions.npy", actions_of(row, steps))
    return folder / "actions.npy"


def actions_of(row: Row, steps: int) -> Actions:
    """``(steps, A)`` float64."""
    env = registry.make(EnvSpec(row.env_name))
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    if row.actions == "random":
        return np.random.default_rng(0).uniform(0, 1, (steps, *env.action_space.shape))
    gait = read_gait(GAIT)
    actor = build_actor(gait.policy, env.observation_space, env.action_space)
    actor.load(gait.theta_d, gait.statistics)
    actor.reset(np.random.default_rng(0))
    observation, _ = env.reset(seed=0)
    actions = []
    for _ in range(steps):
        actions.append(np.asarray(actor.act(observation), dtype=np.float64))
        observation, *_ = env.step(actions[-1])
    return np.array(actions)


def load() -> float:
    return os.getloadavg()[0]


if __name__ == "__main__":
    main()
