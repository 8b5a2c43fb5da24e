"""What every experiment command does around a training: options, run directory, console, result."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from env.show import render_run_video
from errors import EsError
from fleet.connection import DEFAULT_URL, URL_VARIABLE, refuse_password_in
from fleet.security.access import NO_ACCESS, Access
from fleet.security.find_access import find_access
from search.configs import NAMED_CONFIGS, NamedConfig
from search.journal import Journal
from search.loop import RunOutcome
from search.run_config import RunConfig, defaults, parse_config
from tracking.console import Console
from tracking.cost import read_cost
from tracking.mirroring import Telling, mirrored
from tracking.mongo.place import MongoPlace, find_mongo
from tracking.observer import directory_observer, run_directory
from tracking.recorder import RunRecorder
from tracking.recorders import Recorders
from tracking.run_notices import Limits, RunNotices
from tracking.sacred_command import run_command
from tracking.tracked_experiment import TrackedExperiment
from tracking.webhook import Webhook, find_webhook, is_cut, without_secret
from training.filming import FOLDER as VIDEOS
from training.filming import Filming
from training.session import (
    Training,
    is_reproducible,
    last_line,
    result_of,
    score_options,
    settled,
)

ROOT = Path(__file__).resolve().parents[1]
NOISE_VARIABLE = "ES_NOISE_DIR"
VIDEO = "final.mp4"


class Command:
    """An experiment command. Each can do what all can; they differ in what they do unasked.

    Args:
        name: Sacred's name of the experiment.
        usage: what ``--help`` says first.
        changed: options whose default is another than `RunConfig`'s.
        named_configs: what may stand after ``with``.
    """

    def __init__(
        self,
        name: str,
        usage: str,
        *,
        changed: Mapping[str, Any] = MappingProxyType({}),
        named_configs: Mapping[str, NamedConfig] = NAMED_CONFIGS,
    ) -> None:
        self._journal: Journal | None = None
        self._mongo: tuple[MongoPlace | None, str | None] = (None, None)
        self._mirror_tells: Telling | None = None
        self._webhook: Webhook | None = None
        self._experiment = TrackedExperiment(name, base_dir=ROOT, save_git_info=False)
        self._experiment.doc = usage
        self._experiment.conceal("notify", without_secret)
        self._experiment.add_config({**defaults(), **changed})  # type: ignore[no-untyped-call]
        for config_name, named in named_configs.items():
            self._experiment.add_described_config(config_name, named.doc, named.options)

        @self._experiment.main  # type: ignore[untyped-decorator]
        def train(_run: Any) -> dict[str, Any]:
            """Train, and say how it went."""
            return self._train(_run)

    def run(self, argv: Sequence[str]) -> int:
        """Do what ``argv`` says; the exit code."""
        return run_command(
            self._experiment,
            argv,
            check=self._check,
            hold=self._hold,
            last_line=lambda _run_id, result: last_line(result),
            mongo=lambda settings: find_mongo(settings["mongo_url"]),
        )

    @contextmanager
    def _hold(self, directory: Path) -> Iterator[None]:
        """Have the run's journal, and with it the run, for as long as the command lasts."""
        place, mongo_url = self._mongo
        with (
            Journal(directory / "journal", _say) as self._journal,
            mirrored(place, directory, _say, mongo_url=mongo_url) as self._mirror_tells,
        ):
            yield

    def _check(self, config: Mapping[str, Any]) -> None:
        """Refuse before there is a run directory whatever can be refused by then."""
        parsed = parse_config(config)
        if parsed.redis_url is not None:
            refuse_password_in(parsed.redis_url)  # the run directory would keep it
        self._mongo = find_mongo(parsed.mongo_url), parsed.mongo_url
        self._webhook = find_webhook(self._experiment.concealed.get("notify"))
        settled(parsed, notice=lambda line: None)

    def _train(self, _run: Any) -> dict[str, Any]:
        assert self._journal is not None
        assert self._mirror_tells is not None
        directory = run_directory(_run)
        config = _from_environment(parse_config(_run.config))
        access = _access(config)  # may ask on the terminal, which is the console's from here on
        with ExitStack() as stack:
            console = stack.enter_context(_console(config, directory))
            config = settled(config, console.notice)
            recorder = stack.enter_context(_recorder(config, _run, console.notice))
            told = Recorders([recorder, console])
            notices = stack.enter_context(self._notices(config, _run, told.notice))
            films = stack.enter_context(_filming(config, _run, told.notice))
            training = Training(
                config,
                run_id=int(directory.name),
                journal=self._journal,
                recorder=Recorders([told, notices, *films]),
                run_uid=directory_observer(_run).uid,
                access=access,
            )
            if config.resume is not None:
                recorder.rewind(training.history())
            stack.enter_context(self._mirror_tells(told.notice))
            outcome, uid = training.run()
            result = result_of(
                outcome,
                run_id=int(directory.name),
                run_uid=uid,
                is_reproducible=is_reproducible(config),
            )
            notices.completed(result)
        if config.render:
            _film(config, outcome, directory / VIDEO, _run)
        return result

    def _notices(self, config: RunConfig, run: Any, tell: Callable[[str], None]) -> RunNotices:
        """Who tells those that are away how the run goes."""
        directory = run_directory(run)
        if self._webhook is None and is_cut(config.notify):
            tell(
                f"notify={config.notify}: its address is not kept with the run; give it again to "
                "be told, by notify=URL or ES_NOTIFY_URL"
            )
        limits = Limits(
            target_fitness=config.target_fitness,
            max_wall_s=config.max_wall_s,
            max_env_steps=config.max_env_steps,
        )
        return RunNotices(
            self._webhook,
            limits,
            run=int(directory.name),
            uid=directory_observer(run).uid,
            env=config.env_name,
            host=socket.gethostname(),
            tell=tell,
            cost=lambda: read_cost(directory),
        )


def _recorder(config: RunConfig, run: Any, notice: Callable[[str], None]) -> RunRecorder:
    return RunRecorder(
        run,
        run_directory(run),
        total_generations=config.num_generations,
        num_checkpoints=config.num_serializations,
        render_every=config.render_every,
        notice=notice,
    )


@contextmanager
def _filming(config: RunConfig, run: Any, tell: Callable[[str], None]) -> Iterator[list[Filming]]:
    """Who films the run while it goes on, if that is asked for."""
    if config.render_every is None:
        yield []
        return
    with Filming(
        config.final_env_spec,
        config.policy_spec,
        folder=run_directory(run) / VIDEOS,
        every=config.render_every,
        seed=config.seed,
        include=Path(config.include).resolve() if config.include else None,
        register=lambda video: run.add_artifact(str(video), name=video.name),
        notice=tell,
    ) as filming:
        yield [filming]


def _console(config: RunConfig, directory: Path) -> Console:
    return Console(
        settled(config, lambda line: None).num_generations,
        config.max_wall_s,
        sys.stdout,
        title=f"{config.env_name}, run {directory.name}",
        only_scored=config.asynchronous,
        cost=lambda: read_cost(directory),
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _access(config: RunConfig) -> Access:
    """To the run's Redis, if it has one; nobody is asked about one that was not named."""
    if config.pool != "redis":
        return NO_ACCESS
    return find_access(config.redis_url or DEFAULT_URL, may_ask=config.redis_url is not None)


def _from_environment(config: RunConfig) -> RunConfig:
    """``config`` with what the environment says where the config says nothing."""
    return msgspec.structs.replace(
        config,
        redis_url=config.redis_url or os.environ.get(URL_VARIABLE),
        noise_dir=config.noise_dir or os.environ.get(NOISE_VARIABLE),
    )


def _film(config: RunConfig, outcome: RunOutcome, out: Path, run: Any) -> None:
    """A video of what was learnt; a run is not lost because it cannot be drawn."""
    try:
        render_run_video(
            config.final_env_spec,
            config.policy_spec,
            outcome.theta,
            outcome.statistics,
            out,
            seed=config.seed,
            max_ep_length=config.final_env_spec.max_ep_length,
            notice=lambda line: print(line, flush=True),
            include=Path(config.include) if config.include else None,
            reset_options=score_options(config),
        )
        run.add_artifact(str(out))
    except EsError as error:
        print(f"no video: {error}", flush=True)
