"""``python env/render.py``, on runs as the recorder leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from env.gait_file import Gait, write_gait
from env.playback import Playback
from env.registry import make
from env.render import main
from env.show import Performer, Show, perform, render_run_video
from env.spec import EnvSpec
from errors import ConfigError, RunError
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from tracking import checkpoints

ROOT = Path(__file__).resolve().parents[2]


def stored_run(
    runs_dir: Path,
    env_name: str,
    num_parameters: int,
    *,
    run_id: int = 3,
    generations: tuple[int, ...] = (2, 5),
    **config: object,
) -> None:
    folder = runs_dir / str(run_id)
    folder.mkdir(parents=True)
    settings = {"env_name": env_name, "seed": 7, "network": "linear", **config}
    (folder / "config.json").write_text(json.dumps(settings))
    for number in generations:
        theta = np.full(num_parameters, 0.01 * number, np.float32)
        if number == 2 and config.get("network") == "reflex":
            theta[:] = 0
        checkpoints.write(folder / checkpoints.FOLDER, number, {"theta": theta})


def render(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, str(ROOT / "env" / "render.py"), *arguments],
        cwd=cwd,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def num_frames(path: Path) -> int:
    with Image.open(path) as gif:
        return int(gif.n_frames)  # type: ignore[attr-defined]


def test_a_run_becomes_a_video_without_a_display(tmp_path: Path) -> None:
    stored_run(tmp_path / "runs", "LunarLanderContinuous-v3", 18)
    done = render("3", "--max_ep_length", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    says = "no display here and no --out: run-3-gen-5.mp4 was written instead\n"
    assert done.stderr == says
    assert done.stdout.startswith("run-3-gen-5.mp4: 11 frames, reward ")
    assert len(done.stdout.splitlines()) == 1
    assert (tmp_path / "run-3-gen-5.mp4").stat().st_size > 1000


def test_generation_file_episodes_and_folder_can_be_named(tmp_path: Path) -> None:
    stored_run(tmp_path / "elsewhere", "CartPole-v1", 10)
    done = render(
        *("3", "--gen", "2", "--num_episodes", "2", "--max_ep_length", "6", "--out", "pole.gif"),
        *("--runs_dir", str(tmp_path / "elsewhere")),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "mean of 2 episodes: reward 6.0, 6 steps" in done.stdout
    # Every second of 50 steps a second, the first and the last moment: 4 for each episode.
    assert num_frames(tmp_path / "pole.gif") == 8


def test_a_window_where_there_is_a_display(tmp_path: Path) -> None:
    stored_run(tmp_path / "runs", "CartPole-v1", 10)
    done = render("3", "--max_ep_length", "4", cwd=tmp_path, DISPLAY=":0", SDL_VIDEODRIVER="dummy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "reward 4.0, 4 steps"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_walker_is_rendered_with_its_distance(tmp_path: Path) -> None:
    pytest.importorskip("opensim")
    stored_run(tmp_path / "runs", "OpenSimWalk2D-v0", 37, network="reflex")
    done = render(*("3", "--gen", "2", "--max_ep_length", "9", "--out", "walk.gif"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = "walk.gif: 4 frames, reward 1.7, 9 steps, 0.14 m"
    assert done.stdout.splitlines()[-1] == summary
    assert num_frames(tmp_path / "walk.gif") == 4


def test_files_for_opensim_and_a_video_of_the_same_episode(tmp_path: Path) -> None:
    opensim = pytest.importorskip("opensim")
    config = {"network": "reflex", "frame_skip": 3, "env_options": {"preset": "fast"}}
    stored_run(tmp_path / "runs", "OpenSimWalk2D-v0", 37, **config)
    arguments = ("3", "--gen", "2", "--max_ep_length", "8", "--sto", "motion/of 3")
    done = render(*arguments, "--out", "walk.gif", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = "states.sto, coordinates.mot, controls.sto, ground_reactions.mot, plots.png"
    assert done.stdout.splitlines()[-2:] == [
        f"motion/of 3: {names}: 9 rows, for model gait14dof22musc_planar_20170320.osim",
        "walk.gif: 3 frames, reward 1.5, 8 steps, 0.13 m",
    ]
    table = opensim.TimeSeriesTable(str(tmp_path / "motion" / "of 3" / "states.sto"))
    # Every step of the simulator, though the policy acts on each third.
    assert list(table.getIndependentColumn()) == pytest.approx(np.arange(9) / 100)
    alone = render(*arguments[:-1], "again", "--num_episodes", "2", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.splitlines()[-1] == "mean of 2 episodes: reward 1.5, 8 steps, 0.13 m"
    assert not list(tmp_path.glob("*.mp4"))
    for episode in ("episode-1", "episode-2"):
        again = tmp_path / "again" / episode / "states.sto"
        assert again.read_text() == (tmp_path / "motion" / "of 3" / "states.sto").read_text()


def test_a_gait_file_is_rendered_at_the_preset_that_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("opensim")
    policy, theta = PolicySpec("reflex"), np.zeros(37, np.float32)
    rewards = {}
    for preset in ("exact", "fast"):
        env = EnvSpec("OpenSimWalk2D-v0", options={"preset": preset}, max_ep_length=3)
        gait = Gait.of(env, policy, theta, None, {})
        write_gait(tmp_path / f"{preset}.json", gait)
        (film,) = perform(
            [Performer(gait)],
            Show(0, max_ep_length=60, reset_options={"preset": "exact"}),
            include=None,
            notice=print,
        )
        rewards[preset] = film[0].distance_m
        assert film[0].steps == 3, "the specification has its cap"
    assert rewards["exact"] == rewards["fast"]
    done = render(
        *("--gait", "fast.json", "--preset", "exact", "--max_ep_length", "9", "--out", "g.gif"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    # A cap belongs to the training that the gait came from.
    assert done.stdout.splitlines()[-1] == "g.gif: 4 frames, reward 1.7, 9 steps, 0.14 m"


def test_a_film_may_have_a_longest_time(tmp_path: Path) -> None:
    gait = Gait.of(EnvSpec("Pendulum-v1"), PolicySpec("linear"), np.zeros(4, np.float32), None, {})
    for max_ep_length, steps in ((None, 30), (7, 7)):
        show = Show(0, max_ep_length=max_ep_length, max_time_s=1.0, out=tmp_path / "film.gif")
        ((shown,),) = perform([Performer(gait)], show, include=None, notice=print)
        assert (shown.steps, shown.time_s) == (steps, pytest.approx(steps / 30))


def test_an_arm_is_captioned_with_its_distance_to_the_target() -> None:
    pytest.importorskip("opensim")
    spec, policy = EnvSpec("OpenSimArm2D-v0", options={"preset": "fast"}), PolicySpec("linear")
    env = make(spec)
    theta = initial_theta(policy, env.observation_space, env.action_space, 0, None)
    playback = Playback(env, spec, policy, theta, None, notice=print)
    moments = [shown.caption for shown in playback.episode(1, max_ep_length=4)]
    start = env.reset(seed=1)[1]["target_distance_m"]
    playback.close()
    assert len(moments) == 2
    assert moments[0] == f" 0.00 s     {start:.3f} m to target     reward 0.0"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("3", "--sto", "motion"), "--sto is for environments on OpenSim"),
        (("3", "--preset", "exact"), "no environment on OpenSim"),
        (("3", "--gait", "g.json"), "either a run id or --gait"),
        ((), "either a run id or --gait"),
        (("--gait", "g.json"), "no gait in g.json"),
        (("4",), "no run 4"),
        (("5",), "no checkpoint"),
        (("6",), "ALE/Pong-v5 is not installed: pip install ale-py"),
        (("3", "--gen", "3"), "generation 3 of run 3 was not kept; kept were 2, 5"),
        (("3", "--gens", "2,9"), "generation 9 of run 3 was not kept; kept were 2, 5"),
        (("3", "--gens", "2,x"), "'x' is no generation"),
        (("3", "--gens", ","), "--gens is empty"),
        (("3", "--gens", "2 " * 17), "17 generations side by side are too many"),
        (("3", "--gens", "2,5", "--sto", "motion"), "--sto is of one generation"),
        (("3", "--gen", "2", "--best"), "one of them is meant"),
        (("--gait", "g.json", "--best"), "--gait names a policy"),
        (("3", "--best"), "no best generation"),
        (("3", "--out", "film.avi"), ".mp4 or .gif"),
        (("3", "--out", "nowhere/film.mp4"), "no folder"),
        (("8", "--out", "film.gif"), "has no time limit of its own, and its episode may never end"),
    ],
)
def test_what_cannot_be_rendered_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    stored_run(tmp_path / "runs", "CartPole-v1", 10)
    stored_run(tmp_path / "runs", "CartPole-v1", 10, run_id=5, generations=())
    stored_run(tmp_path / "runs", "ALE/Pong-v5", 10, run_id=6)
    stored_run(tmp_path / "runs", "Blackjack-v1", 10, run_id=8)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_generations_side_by_side_are_of_the_same_episode_and_named_by_number_best_or_last(
    tmp_path: Path,
) -> None:
    stored_run(tmp_path / "runs", "CartPole-v1", 10)
    done = render("3", "--gens", "2,last", "--max_ep_length", "6", "--out", "g.gif", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "generation 2: reward 6.0, 6 steps",
        "generation 5: reward 6.0, 6 steps",
        "g.gif: 4 frames, 2 generations side by side",
    ]
    with Image.open(tmp_path / "g.gif") as gif:
        assert gif.size == (1204, 400)
        start = np.asarray(gif.convert("RGB")).astype(int)
    # Below the captions: both begin alike.
    assert (start[80:, :600] == start[80:, 604:]).all()
    folder = tmp_path / "runs" / "3" / checkpoints.FOLDER
    checkpoints.write_best(folder, checkpoints.Best(2, disposable=False))
    done = render("3", "--gens", "last,best", "--max_ep_length", "2", cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("run-3-gens-5-2.mp4: 2 frames")
    done = render("3", "--best", "--max_ep_length", "2", cwd=tmp_path)
    assert done.stdout.startswith("run-3-gen-2.mp4: 2 frames")


def test_another_seed_is_another_episode_and_frames_come_as_often_as_asked(tmp_path: Path) -> None:
    stored_run(tmp_path / "runs", "LunarLanderContinuous-v3", 18)
    for seed in ("7", "8"):
        words = ("3", "--seed", seed, "--every", "5", "--max_ep_length", "20")
        done = render(*words, "--out", f"{seed}.gif", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert num_frames(tmp_path / f"{seed}.gif") == 5
    with Image.open(tmp_path / "7.gif") as seven, Image.open(tmp_path / "8.gif") as eight:
        assert seven.info["duration"] == 100, "50 steps a second, a frame each fifth: real time"
        assert (
            np.asarray(seven.convert("RGB")).tolist() != np.asarray(eight.convert("RGB")).tolist()
        )


def test_without_ffmpeg_a_gif_is_written_where_nobody_named_a_file(tmp_path: Path) -> None:
    stored_run(tmp_path / "runs", "CartPole-v1", 10)
    lacking = {"IMAGEIO_FFMPEG_EXE": str(tmp_path / "nothing")}
    done = render("3", "--max_ep_length", "2", "--out", "film.mp4", cwd=tmp_path, **lacking)
    assert done.returncode == 2
    assert "needs ffmpeg" in done.stderr
    assert "write film.gif" in done.stderr
    assert done.stderr.count("\n") == 1
    done = render("3", "--max_ep_length", "2", cwd=tmp_path, **lacking)
    assert done.stdout.startswith("run-3-gen-5.gif: 2 frames")


def test_a_display_that_cannot_be_reached_is_said_before_anything_runs(tmp_path: Path) -> None:
    stored_run(tmp_path / "runs", "CartPole-v1", 10)
    done = render("3", cwd=tmp_path, DISPLAY=":907", SDL_VIDEODRIVER="x11")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no window can be opened" in done.stderr
    assert "--out FILE.mp4" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_env_without_pictures_and_a_theta_that_does_not_fit_are_one_line(
    tmp_path: Path,
) -> None:
    theta = np.zeros(5, np.float32)
    (tmp_path / "unseen_env.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Unseen(CartPoleEnv):\n"
        "    metadata = {'render_modes': []}\n"
        "gymnasium.register('Unseen-v0', Unseen)\n"
    )
    for name, says in (("unseen_env:Unseen-v0", "has no pictures"), ("Acrobot-v1", "5")):
        with pytest.raises(ConfigError, match=says):
            render_run_video(
                EnvSpec(name),
                PolicySpec("linear"),
                theta,
                None,
                tmp_path / "film.mp4",
                seed=0,
                include=tmp_path,
                notice=print,
            )
    assert not (tmp_path / "film.mp4").exists()


def test_frame_skip_makes_fewer_steps_of_the_same_time(tmp_path: Path) -> None:
    said: list[str] = []
    (result,) = render_run_video(
        EnvSpec("LunarLanderContinuous-v3", frame_skip=3),
        PolicySpec("linear"),
        np.zeros(18, np.float32),
        None,
        tmp_path / "film.gif",
        seed=1,
        max_ep_length=20,
        notice=said.append,
    )
    assert result[1] == 20
    assert num_frames(tmp_path / "film.gif") == 8
    assert said[-1].startswith(str(tmp_path / "film.gif"))


def test_an_env_that_raises_is_a_run_error_in_one_line(tmp_path: Path) -> None:
    module = tmp_path / "breaking_env.py"
    module.write_text(
        "import gymnasium, numpy as np\n"
        "class Breaking(gymnasium.Env):\n"
        "    metadata = {'render_modes': ['rgb_array'], 'render_fps': 25}\n"
        "    action_space = gymnasium.spaces.Box(-1, 1, (1,))\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (1,))\n"
        "    def __init__(self, render_mode=None): self.render_mode = render_mode\n"
        "    def reset(self, *, seed=None, options=None): return np.zeros(1, np.float32), {}\n"
        "    def step(self, action): raise RuntimeError('the knee\\nis gone')\n"
        "    def render(self): return np.zeros((20, 20, 3), np.uint8)\n"
        "gymnasium.register('Breaking-v0', Breaking)\n"
    )
    with pytest.raises(RunError, match="stopped after 0 steps: the knee is gone"):
        render_run_video(
            EnvSpec("breaking_env:Breaking-v0"),
            PolicySpec("linear"),
            np.zeros(2, np.float32),
            None,
            tmp_path / "film.mp4",
            seed=0,
            include=tmp_path,
            notice=print,
        )
    assert not (tmp_path / "film.mp4").exists()
