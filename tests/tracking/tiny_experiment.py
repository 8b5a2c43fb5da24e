"""A tiny Sacred experiment that really runs, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tracking.observer import run_directory
from tracking.sacred_import import Run
from tracking.tracked_experiment import TrackedExperiment, quiet_logger

CONFIG: dict[str, Any] = {
    "env_name": "sphere",
    "env_options": {"num_dims": 3},
    "frame_skip": 2,
    "history_len": 1,
    "max_ep_length": None,
    "network": "linear",
    "hidden_sizes": [4, 4],
    "hidden_activation": "tanh",
    "output_activation": "none",
    "normalize_observations": True,
    "network_options": {},
    "lr": 0.1,
    "num_generations": 20,
    "runs_dir": "runs",
    "resume": None,
    "load_from": None,
}

Body = Callable[[Run, Path], Any]
RunOnce = Callable[..., Run]


def make_experiment(body: Body, config: Mapping[str, Any] = CONFIG) -> TrackedExperiment:
    """An experiment whose main function is ``body(run, its directory)``."""
    experiment = TrackedExperiment("tiny", base_dir=Path(__file__).parent, save_git_info=False)
    experiment.add_config(dict(config))  # type: ignore[no-untyped-call]
    experiment.logger = quiet_logger("tiny")  # type: ignore[assignment]

    @experiment.main  # type: ignore[untyped-decorator]
    def main(_run: Run) -> Any:
        return body(_run, run_directory(_run))

    return experiment
