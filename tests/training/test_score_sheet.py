"""What a policy scored, for people and for programs."""

from __future__ import annotations

import json

import pytest

from env.success import Success
from search.messages import RolloutRecord
from search.scores import Scores
from training.score_sheet import ScoreSheet

REWARDS = [float(reward) for reward in range(0, 101, 5)]
RECORDS = [
    RolloutRecord(number, 0, "ok", fitness=reward, length=10 * number, distance_m=reward / 10)
    for number, reward in enumerate(REWARDS)
]
FAILED = RolloutRecord(21, 0, "failed", error="ValueError: the knee is gone")


def test_quantiles_spread_and_successes_of_known_rewards() -> None:
    sheet = ScoreSheet(Scores.of([*RECORDS, FAILED]), Success(least_reward=80)).as_json()
    assert json.loads(json.dumps(sheet)) == sheet
    assert (sheet["episodes"], sheet["failed"]) == (21, 1)
    assert sheet["reward"] == {
        "mean": 50.0,
        # A sample's standard deviation over the root of its size: 5 * sqrt(38.5 / 21).
        "standard_error": pytest.approx(5 * (38.5 / 21) ** 0.5),
        "least": 0.0,
        "most": 100.0,
        "quantiles": {"0.05": 5.0, "0.25": 25.0, "0.5": 50.0, "0.75": 75.0, "0.95": 95.0},
    }
    assert sheet["length_steps"]["most"] == 200.0
    assert sheet["distance_m"]["mean"] == 5.0
    assert sheet["success_rate"] == 5 / 21
    assert sheet["success"] == "reward at least 80"
    assert sheet["each"][16] == {
        "episode": 16,
        "reward": 80.0,
        "length_steps": 160,
        "distance_m": 8.0,
        "success": True,
    }
    assert sheet["failures"] == [{"episode": 21, "error": "ValueError: the knee is gone"}]


def test_the_table_ends_with_the_means_and_names_what_failed() -> None:
    lines = list(ScoreSheet(Scores.of([*RECORDS, FAILED]), Success(least_steps=150)).lines())
    assert lines[1] == "      0       0.00       0    0.00 m"
    assert lines[-4:] == [
        "episode 21 failed: ValueError: the knee is gone",
        "quantiles of the reward: 5% 5.00, 25% 25.00, 50% 50.00, 75% 75.00, 95% 95.00",
        "6 of 21 succeed (lasts 150 steps)",
        "reward 50.00 +- 6.77, 100 steps, 5.00 m, over 21 episodes, 1 failed",
    ]


def test_one_episode_has_no_standard_error() -> None:
    sheet = ScoreSheet(Scores.of([RolloutRecord(0, 0, "ok", fitness=3.0, length=7)]), None)
    assert sheet.as_json()["reward"]["standard_error"] is None


def test_where_nobody_says_what_success_or_distance_is_there_is_none() -> None:
    (record, *_) = [RolloutRecord(0, 0, "ok", fitness=-3.0, length=7)]
    sheet = ScoreSheet(Scores.of([record]), None)
    assert sheet.as_json()["success_rate"] is None
    assert sheet.as_json()["distance_m"] is None
    assert list(sheet.lines()) == [
        "episode     reward   steps  distance",
        "      0      -3.00       7",
        "reward -3.00, 7 steps, over 1 episode",
    ]
