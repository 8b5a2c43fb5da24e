"""A Sacred command line that ends with one line and an exit code, and that can resume.

Keeps what people know of Sacred (``with NAME... key=value``, ``print_config``, files of settings,
``--help`` and its other options) and takes over what it does badly: unknown names, errors of ours,
signals, and a run directory that is used again.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docopt import DocoptExit, docopt

from errors import ConfigError, EsError, did_you_mean
from tracking.given_settings import check_settings, default_config, resumed_config
from tracking.interruption import Interrupted, interruptible
from tracking.mongo.place import MongoPlace
from tracking.observer import RunDirectoryObserver
from tracking.sacred_import import Experiment, Run, SacredError, get_config_updates
from tracking.store import open_run, open_run_to_resume
from tracking.tracked_experiment import quiet_logger
from tracking.usage import usage

Check = Callable[[Mapping[str, Any]], object]
Hold = Callable[[Path], AbstractContextManager[object]]
LastLine = Callable[[int, Any], str]
FindMongo = Callable[[Mapping[str, Any]], MongoPlace | None]

_REFUSED_OPTIONS = {
    "--unobserved": "a run needs its directory: use runs_dir=FOLDER for one to throw away",
    "--queue": "runs are not queued here: start it",
    "--id": "run ids are given in order: use resume=ID to go on with one",
}


@dataclass
class _CommandLine:
    command: str
    words: Sequence[str]
    options: dict[str, Any]


def run_command(
    experiment: Experiment,
    argv: Sequence[str],
    *,
    check: Check | None = None,
    hold: Hold | None = None,
    last_line: LastLine | None = None,
    mongo: FindMongo = lambda settings: None,
) -> int:
    """Do what the command line says; the exit code.

    Args:
        experiment: with its config, named configs and main function.
        argv: like `sys.argv`.
        check: given the config of a run before there is one; raises `EsError` to refuse it.
        hold: given the run's directory, new or resumed, before anything in it is touched; entered
            for as long as the run lasts, and may refuse with `errors.RunLocked`.
        last_line: given the run's id and what main returned; printed when all is done.
        mongo: given the settings, says where a run to resume is if its directory has gone.

    Errors of ours are one line on stderr and their ``exit_code``; Ctrl-C is 130, SIGTERM 143, and
    the last line says how to resume. Anything else is a defect and keeps its traceback.
    """
    run = None
    try:
        with interruptible(), ExitStack() as held:
            line = _parse(experiment, argv)
            if line is None:
                return 0
            run = _prepare(
                experiment, line, check, lambda path: held.enter_context(_of(hold, path)), mongo
            )
            run()
            if last_line is not None and not run.unobserved:
                print(last_line(_run_id(run), run.result), flush=True)
            return 0
    except EsError as error:
        if run is not None and run.debug:
            raise
        return _say(error, error.exit_code)
    except SacredError as error:
        return _say(error, ConfigError.exit_code)
    except KeyboardInterrupt as interrupt:
        interrupted = interrupt if isinstance(interrupt, Interrupted) else Interrupted()
        print(_how_to_go_on(run, argv), flush=True)
        return interrupted.exit_code
    except Exception:
        if run is not None and run.pdb:
            import pdb  # costs 20 ms, and only --pdb wants it

            pdb.post_mortem()
        raise


def _parse(experiment: Experiment, argv: Sequence[str]) -> _CommandLine | None:
    """What the command line asks for; ``None`` where it asked for help and got it."""
    _, _, internal_usage = experiment.get_usage(argv[0])
    try:
        options = dict(docopt(internal_usage, list(argv[1:]), default_help=False))
    except DocoptExit:
        raise ConfigError(
            f"cannot read `{shlex.join(argv[1:])}`; expected [COMMAND] [with NAME... key=value...] "
            "[options], see --help"
        ) from None
    if experiment._handle_help(options, usage(argv[0], experiment.doc)):
        return None
    command = str(options.get("COMMAND") or experiment.default_command)
    commands = dict(experiment.gather_commands())
    if command not in commands:
        named = dict(experiment.gather_named_configs())
        hint = did_you_mean(command, commands)
        if command in named or "=" in command:
            hint = f"; did you mean `with {command}`?"
        raise ConfigError(f"unknown command {command!r}{hint} (there are {', '.join(commands)})")
    return _CommandLine(command, options["UPDATE"] or [], options)


def _prepare(
    experiment: Experiment,
    line: _CommandLine,
    check: Check | None,
    hold: Callable[[Path], object],
    mongo: FindMongo,
) -> Run:
    """The run, checked and observed, not yet begun."""
    try:
        updates, named_configs = get_config_updates(line.words)
    except Exception as error:  # TypeError and the like, from `a=1 a.b=2`
        raise ConfigError(f"cannot read the settings `{shlex.join(line.words)}`: {error}") from None
    given = check_settings(experiment, updates, named_configs)
    resume = given.get("resume")
    config, place = (given, None) if resume is None else _resumed(experiment, given, mongo)
    experiment.logger = quiet_logger(str(experiment.path))  # type: ignore[assignment]
    try:
        run: Run = experiment._create_run(
            # Sacred would refuse `env_options.x=1` as an addition; names are checked above.
            line.command,
            config,
            (),
            {},
            {},
            {**line.options, "--force": True},
        )
    except (RuntimeError, ValueError) as error:  # of --enforce_clean, --priority, --loglevel
        raise ConfigError(" ".join(str(error).split())) from None
    run.meta_info["named_configs"] = named_configs
    if not run.main_function.unobserved:
        for option, advice in _REFUSED_OPTIONS.items():
            if line.options.get(option):
                raise ConfigError(f"{option}: {advice}")
        if check is not None:
            check(run.config)
        runs_dir = Path(run.config["runs_dir"])
        again = None if resume is None else open_run_to_resume(resume, runs_dir, place)
        resumed_id = None if again is None else again.run_id
        run.observers.append(RunDirectoryObserver(runs_dir, resumed_id, hold))
    return run


def _resumed(
    experiment: Experiment, given: Mapping[str, Any], mongo: FindMongo
) -> tuple[dict[str, Any], MongoPlace | None]:
    """The config of the run to resume, and the MongoDB in which it was looked for."""
    defaults = default_config(experiment)
    runs_dir = Path(given.get("runs_dir", defaults["runs_dir"]))
    place = mongo({**defaults, **given})
    stored = open_run(given["resume"], runs_dir, place)
    return resumed_config(stored.config, given, defaults), place


def _run_id(run: Run) -> int:
    """Our observer's, which Sacred asks first."""
    return int(str(run._id))


def _of(hold: Hold | None, path: Path) -> AbstractContextManager[object]:
    return ExitStack() if hold is None else hold(path)


def _say(error: Exception, exit_code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    return exit_code


def _how_to_go_on(run: Run | None, argv: Sequence[str]) -> str:
    if run is None or run._id is None:
        return "stopped before the run began"
    runs_dir = run.config["runs_dir"]
    elsewhere = "" if runs_dir == "runs" else f" runs_dir={shlex.quote(runs_dir)}"
    return (
        f"run {run._id} stopped; to go on: "
        f"python {shlex.quote(argv[0])} with resume={run._id}{elsewhere}"
    )
