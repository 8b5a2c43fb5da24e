"""``python env/evaluate.py`` as people run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from training_process import ROOT, train

TINY = ("cartpole", "seed=3", "num_generations=2", "pool=serial", "final_episodes=4")


def evaluate(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "env" / "evaluate.py"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def reward(output: str) -> float:
    return float(re.findall(r"reward (-?[\d.]+)", output)[-1])


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(folder, *TINY)
    return folder


def test_it_gives_a_run_the_very_score_that_the_run_ended_with(runs_dir: Path) -> None:
    result = train(runs_dir, *TINY)
    words = ("2", f"--runs_dir={runs_dir}", "--episodes=4")
    code, serial, _ = evaluate(*words, "--pool=serial")
    assert code == 0
    assert reward(serial) == pytest.approx(result["fitness_current"], abs=0.005)
    code, parallel, _ = evaluate(*words, "--workers=2")
    assert code == 0
    assert parallel == serial


def test_json_says_the_same_and_nothing_else(runs_dir: Path) -> None:
    words = ("1", f"--runs_dir={runs_dir}", "--episodes=4", "--best", "--pool=serial")
    code, table, _ = evaluate(*words)
    assert code == 0
    code, text, err = evaluate(*words, "--json")
    assert (code, err) == (0, "")
    sheet = json.loads(text)
    assert (sheet["run"], sheet["env"], sheet["seed"]) == (1, "CartPole-v1", 3)
    assert f"run 1, generation {sheet['generation']}, CartPole-v1" in table
    assert sheet["reward"]["mean"] == pytest.approx(reward(table), abs=0.005)
    rewards = sorted(row["reward"] for row in sheet["each"])
    assert len(rewards) == sheet["episodes"] == 4
    assert [sheet["reward"]["least"], sheet["reward"]["most"]] == [rewards[0], rewards[-1]]
    assert sheet["reward"]["quantiles"]["0.5"] == sum(rewards[1:3]) / 2
    assert sheet["success"] == "reward at least 475"
    assert sheet["success_rate"] == sum(reward >= 475 for reward in rewards) / 4
    assert f"{round(4 * sheet['success_rate'])} of 4 succeed (reward at least 475)" in table


def test_a_gait_file_scores_as_the_run_it_comes_from(runs_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "gait.json"
    words = ("--episodes=3", "--seed=8", "--pool=serial")
    code, of_run, _ = evaluate("1", f"--runs_dir={runs_dir}", *words, f"--save={path}")
    assert code == 0
    code, of_file, _ = evaluate(f"--gait={path}", *words)
    assert code == 0
    assert reward(of_file) == reward(of_run)


def test_what_was_scored_is_what_is_saved(runs_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "gait.json"
    words = ("--episodes=3", "--seed=8", "--pool=serial")
    code, untrained, _ = evaluate(
        "1", f"--runs_dir={runs_dir}", *words, "--controller=untrained", f"--save={path}"
    )
    assert code == 0
    assert reward(evaluate(f"--gait={path}", *words)[1]) == reward(untrained)


def test_random_actions_and_an_untrained_policy_are_scored_beside_it(runs_dir: Path) -> None:
    words = ("1", f"--runs_dir={runs_dir}", "--episodes=5", "--pool=serial")
    scores = {
        controller: reward(evaluate(*words, f"--controller={controller}")[1])
        for controller in ("trained", "untrained", "random")
    }
    assert len(set(scores.values())) == 3
    assert 9 < scores["random"] < 60  # cart-pole under random pushes falls after about 20 steps


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "either a run id or --gait"),
        (("1", "--gait=x.json"), "either a run id or --gait"),
        (("77",), "no run 77"),
        (("--gait=nowhere.json",), "no gait in nowhere.json"),
        (("1", "--gen=55"), "generation 55 of run 1 was not kept; kept were 0, "),
        (("1", "--gen=0", "--best"), "one of them is meant"),
        (("--gait=x.json", "--best"), "--gait names a policy"),
        (("1", "--pool=serial", "--workers=4"), "--pool=serial has no workers"),
        (("1", "--pool=ray", "--redis_url=redis://x"), "--redis_url is for --pool=redis"),
        (("1", "--save=env"), "env is no file: name one to keep the gait in"),
    ],
)
def test_a_mistake_is_one_line(runs_dir: Path, words: tuple[str, ...], said: str) -> None:
    code, _, err = evaluate(*words, f"--runs_dir={runs_dir}")
    assert code == 2
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
