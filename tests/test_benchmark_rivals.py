"""The benchmarks beside EvoTorch, without EvoTorch."""

from __future__ import annotations

import itertools
import json
import os
import sys
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import learning
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from lander_race.runs import GRID_S, Outcome, Point, make_run, on_grid, outcome_in, points_of
from lander_race.scores import (
    BEST_EPISODE,
    GOAL,
    HELD_OUT,
    Examiners,
    Learnt,
    Score,
    is_out_of_reach,
    score,
)
from lander_race.settings import EVOTORCH, OURS, SIDES, Settings, command, documented, drawn
from measured_run.settings import SETTINGS, first_theta
from rivals.evotorch_policies import from_evotorch, network_words, to_evotorch
from rivals.turn_servers import ServerFailed, turn_servers
from rollouts import BARE, row
from rollouts import EVOTORCH as RIVAL

from doctor import read_pins
from env import registry
from env.spec import EnvSpec
from policy.actor import build_actor
from policy.spec import PolicySpec
from search.configs import NAMED_CONFIGS
from search.run_config import RunConfig

ROOT = Path(__file__).resolve().parents[1]
TRIALS = range(2, 20)


def outcome(side: str, reached_s: float | None, seconds: float = 100.0) -> Outcome:
    steps = None if reached_s is None else 1000
    points = [(10.0, 200.0 if reached_s is None else GOAL, 100)]
    return Outcome(side, documented(side), 1, seconds, 0.5, reached_s, steps, points)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("hidden", [(), (16, 5)])
def test_a_policy_of_evotorch_acts_the_same_as_one_of_ours(
    hidden: tuple[int, ...], biases: bool
) -> None:
    env = registry.make(EnvSpec("LunarLanderContinuous-v3"))
    sizes = [8, *hidden, 2]
    layers: list[torch.nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(size_in, size_out, bias=biases), torch.nn.Tanh()]
    module = torch.nn.Sequential(*layers)
    parameters = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    spec = PolicySpec("feed_forward" if hidden else "linear", hidden)

    theta = from_evotorch(spec, parameters, 8, 2)
    actor = build_actor(spec, env.observation_space, env.action_space)
    actor.load(theta, None)
    actor.reset(np.random.default_rng(0))
    observation = np.linspace(-1, 1, 8, dtype=np.float32)

    expected = module(torch.from_numpy(observation)).detach().numpy()
    np.testing.assert_allclose(actor.act(observation), expected, atol=1e-6)
    if biases:
        assert (to_evotorch(spec, theta, 8, 2) == parameters).all()
    env.close()


def test_evotorch_is_told_the_same_network() -> None:
    assert network_words(PolicySpec()) == (
        "Linear(obs_length, 64, True) >> Tanh() >> Linear(64, 64, True) >> Tanh() >> "
        "Linear(64, act_length, True) >> Tanh()"
    )
    linear = PolicySpec("linear", (), output_activation="none")
    assert network_words(linear, biases=False) == "Linear(obs_length, act_length, False)"


@pytest.mark.parametrize("trial", TRIALS)
def test_both_sides_try_the_same_policy_population_and_sigma(trial: int) -> None:
    ours, theirs = (drawn(side, trial) for side in SIDES)
    assert ours._replace(lr=0, sigma_lr=0.0) == theirs._replace(lr=0)
    assert ours.lr == theirs.lr or ours.optimizer == "clipup"


def test_both_sides_go_as_fast_by_clipup() -> None:
    lr = {side: {drawn(side, t).lr for t in TRIALS if drawn(side, t).optimizer == "clipup"}
          for side in SIDES}  # fmt: skip
    assert sorted(lr[OURS]) == pytest.approx([value / 1.5 for value in sorted(lr[EVOTORCH])])
    assert lr[OURS]


@pytest.mark.parametrize("side", SIDES)
def test_either_side_tries_both_optimisers(side: str) -> None:
    assert {drawn(side, trial).optimizer for trial in TRIALS} == {"adam", "clipup"}


@pytest.mark.parametrize(("side", "other"), [SIDES, SIDES[::-1]])
def test_either_side_tries_what_the_other_says(side: str, other: str) -> None:
    said, tried = documented(other), drawn(side, 1)
    own = documented(side)
    assert tried._replace(lr=0) == said._replace(lr=0, biases=own.biases, sigma_lr=own.sigma_lr)


def test_every_trial_of_ours_says_how_fast_sigmas_are_learnt() -> None:
    for trial in TRIALS:
        words = command(OURS, drawn(OURS, trial), 1, Path("f"), evotorch="", cores=2)
        assert f"sigma_lr={NAMED_CONFIGS['lander'].options['sigma_lr']}" in words


def test_the_first_trial_of_ours_is_our_own_config() -> None:
    """What it changes beside is only when a run ends, what it keeps and whom it tells."""
    words = command(OURS, documented(OURS), 1, Path("f"), evotorch="", cores=2)
    assert words[2:4] == ["with", "lander"]
    given = dict(word.split("=", 1) for word in words[4:])
    lander = NAMED_CONFIGS["lander"].options
    free = {"num_generations", "max_wall_s", "final_episodes"}
    changed = {name for name, value in given.items() if str(lander.get(name, value)) != value}
    assert changed == free
    assert set(given) <= set(RunConfig.__struct_fields__)


def test_a_test_is_cut_short_only_where_no_landings_could_save_it() -> None:
    needed = GOAL * len(HELD_OUT)
    spare = (BEST_EPISODE * len(HELD_OUT) - needed) / (BEST_EPISODE + 100)
    assert not is_out_of_reach([-100.0] * int(spare))
    assert is_out_of_reach([-100.0] * (int(spare) + 1))
    assert not is_out_of_reach([GOAL] * len(HELD_OUT))


def test_a_policy_that_falls_does_not_pass() -> None:
    spec = documented(OURS).policy
    found = score(Learnt(spec, np.zeros(18, dtype=np.float32), None))
    assert found.mean < 0
    assert found.episodes < len(HELD_OUT)
    assert not found.is_enough


def test_a_run_is_tested_every_other_second_and_at_its_end() -> None:
    times_s = [0.3, 0.9, 1.9, 2.1, 7.9, 8.0, 8.1, 8.3]
    chosen = on_grid([Point(time_s, Path()) for time_s in times_s])
    assert GRID_S == 2.0
    assert [point.time_s for point in chosen] == [1.9, 2.1, 7.9, 8.3]


def test_theta_of_ours_counts_from_when_the_generation_before_it_was_over(tmp_path: Path) -> None:
    folder = tmp_path / "1" / "checkpoints"
    folder.mkdir(parents=True)
    for number, time_s in enumerate([103.0, 104.0, 105.5]):
        path = folder / f"generation_{number:06d}.npz"
        path.touch()
        os.utime(path, (time_s, time_s))
    assert [point.time_s for point in points_of(OURS, tmp_path, 100.0)] == [0.0, 3.0, 4.0]


LEARNER = """
import sys, time
from pathlib import Path
import numpy as np
for number, reward in enumerate([100.0, float(sys.argv[2])], 1):
    beside = Path(sys.argv[1], "beside.tmp")
    with beside.open("wb") as file:
        np.savez(file, theta=np.full(16, reward, np.float32), steps=10 * number)
    beside.replace(Path(sys.argv[1], f"{number:06d}.npz"))
if reward > 250:
    time.sleep(60)
"""


class AtOnce(Executor):
    """Does in this process what it is given."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@pytest.mark.parametrize(("reward", "steps"), [(260.0, 20), (240.0, None)])
def test_a_run_ends_when_it_is_seen_to_land_or_has_nothing_more_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reward: float, steps: int | None
) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-c", LEARNER, str(folder), str(reward)]
    monkeypatch.setattr("lander_race.runs.command", lambda *_, **__: words)
    monkeypatch.setattr("lander_race.runs.score", lambda it: Score(float(it.theta[0]), 100, 0.0))
    examiners = Examiners(AtOnce(), AtOnce())
    settings = documented(EVOTORCH)
    found = make_run(EVOTORCH, settings, 1, 55.0, folder, examiners, evotorch="", cores=2)
    assert found.steps == steps
    assert (found.reached_s is None) == (steps is None)
    assert found.points[-1][1] == found.best == reward
    assert {path.name for path in folder.iterdir()} == {"log", "result.json"}
    assert outcome_in(folder) == found._replace(points=[list(point) for point in found.points])


def test_a_run_that_does_not_get_there_counts_as_its_cap() -> None:
    outcomes = {
        OURS: [outcome(OURS, 20.0), outcome(OURS, 30.0), outcome(OURS, None)],
        EVOTORCH: [outcome(EVOTORCH, None), outcome(EVOTORCH, None), outcome(EVOTORCH, 60.0)],
    }
    lines = list(learning.table(outcomes))
    assert "> 100 (best 200)" in lines[2]
    assert "EvoTorch to ours: 3.33, target 2.5" in lines
    assert not any("nan" in line or "None" in line for line in lines)


def test_settings_that_got_there_sooner_are_worth_more_than_any_reward() -> None:
    slow, quick, never = outcome(OURS, 90.0), outcome(OURS, 20.0), outcome(OURS, None)
    assert learning.worth([quick]) > learning.worth([slow]) > learning.worth([never])


def test_settings_are_chosen_among_those_with_a_second_seed() -> None:
    lucky = outcome(OURS, 5.0)._replace(settings=drawn(OURS, 1))
    sure = outcome(OURS, 20.0)
    assert learning.chosen({0: [sure, sure], 1: [lucky]}) == sure.settings


def test_a_run_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    there = outcome(OURS, 20.0)
    (tmp_path / "result.json").write_text(json.dumps(there._asdict()))
    make = learning.maker(None, "no-such-python")
    again = make(OURS, documented(OURS), 1, 100.0, tmp_path)
    assert (again.settings, again.reached_s) == (there.settings, there.reached_s)
    with pytest.raises(click.ClickException, match="other settings"):
        make(OURS, documented(OURS), 1, 50.0, tmp_path)


def test_both_sides_are_tuned_alike_and_race_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, Settings, int, float]] = []

    def make_run(
        side: str, settings: Settings, seed: int, seconds: float, *_: Any, **__: Any
    ) -> Outcome:
        made.append((side, settings, seed, seconds))
        # Of our trials the third is the best, of theirs the first.
        reached_s = 10.0 if settings == drawn(OURS, 2) else 40.0
        return outcome(side, reached_s, seconds)._replace(settings=settings, seed=seed)

    monkeypatch.setattr(learning, "make_run", make_run)
    monkeypatch.setattr(learning, "examiners", lambda cores: nullcontext())
    monkeypatch.setattr(learning, "FOUND", tmp_path / "found.json")

    where = ["--folder", str(tmp_path), "--evotorch", sys.executable]
    words = ["tune", "--trials", "3", "--seconds", "45", *where]
    tuned = CliRunner().invoke(learning.main, words, catch_exceptions=False)
    assert tuned.exit_code == 0
    assert [m[0] for m in made[:4]] == [OURS, EVOTORCH, EVOTORCH, OURS]
    for side in SIDES:
        assert [m[2:] for m in made if m[0] == side] == [(1, 45.0)] * 3 + [(2, 45.0)] * 2
    assert learning.found_settings() == {OURS: drawn(OURS, 2), EVOTORCH: documented(EVOTORCH)}

    made.clear()
    words = ["race", "--seeds", "2", "--cap", "90", *where]
    raced = CliRunner().invoke(learning.main, words, catch_exceptions=False)
    assert {m[2] for m in made} == {101, 102}
    assert {m[1] for m in made if m[0] == OURS} == {drawn(OURS, 2)}
    assert "EvoTorch to ours: 4.00, target 2.5" in raced.output


def test_settings_that_were_found_are_read_as_they_were_written() -> None:
    for side in SIDES:
        settings = drawn(side, 3)
        assert Settings(**settings._asdict()) == settings


def test_a_python_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    words = ["race", "--folder", str(tmp_path), "--evotorch", str(tmp_path / "python")]
    refused = CliRunner().invoke(learning.main, words)
    assert refused.exit_code == 2
    assert "make bench" in refused.output


def test_servers_take_turns_and_their_rates_add_up() -> None:
    program = "from rivals import turn_servers as t; t.serve(lambda s: 2 * s, t.answers())"
    with turn_servers([[sys.executable, "-c", program]] * 2, cwd=ROOT / "benchmarks") as turn:
        assert turn(0.25) == 1.0
        assert turn(1.0) == 4.0


def test_what_a_server_prints_is_no_answer() -> None:
    program = (
        "from rivals import turn_servers as t; out = t.answers(); print('noise'); "
        "t.serve(lambda s: s, out)"
    )
    with turn_servers([[sys.executable, "-c", program]], cwd=ROOT / "benchmarks") as turn:
        assert turn(1.5) == 1.5


def test_a_server_that_ends_is_named() -> None:
    with pytest.raises(ServerFailed, match="ended"), turn_servers([[sys.executable, "-c", ""]]):
        pass


def test_columns_of_a_rival_that_was_not_there_are_blank() -> None:
    rates = {"ours": [30.0, 40.0, 50.0], BARE: [60.0, 50.0, 50.0]}
    alone = row("LunarLanderContinuous-v3", rates)
    beside = row("LunarLanderContinuous-v3", {**rates, RIVAL: [10.0, 10.0, 10.0]})
    assert len(alone) == len(beside)
    assert "0.80" in alone
    assert "4.00" in beside
    assert "4.00" not in alone


def test_the_lander_starts_from_one_theta_everywhere() -> None:
    setting = SETTINGS["LunarLanderContinuous-v3"]
    theta = first_theta(setting)
    there = to_evotorch(setting.policy, theta, 8, 2)
    assert (from_evotorch(setting.policy, there, 8, 2) == theta).all()


def test_what_both_need_has_one_version() -> None:
    ours = read_pins(ROOT / "requirements.txt")
    theirs = read_pins(ROOT / "benchmarks" / "rivals" / "requirements-evotorch.txt")
    all_ours, all_theirs = ours.direct | ours.brought_in, theirs.direct | theirs.brought_in
    differing = {name for name, pin in all_theirs.items() if all_ours.get(name) != pin}
    assert differing == {"evotorch"}
