"""Launch a cluster: ``python cluster/launch.py launch --size=5 --config='walk lr=0.02'``.

A head that searches and worker machines that evaluate, on AWS, or with ``--provider=local`` on this
machine. ``cluster/manage.py`` shows and ends what was launched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from cluster.commands.desk import Desk, say
from cluster.commands.launching import launch
from cluster.commands.options import LAUNCH, option
from cluster.local.folders import home_folder
from cluster.source import pack_include, pack_source
from errors import ConfigError, EsError, did_you_mean
from tracking.mongo.place import OFF, find_mongo, parse_place
from tracking.webhook import OFF as NOBODY
from tracking.webhook import find_webhook

ROOT = Path(__file__).resolve().parents[1]

_OF_THE_CLUSTER = (
    "mongo_url",
    "redis_url",
    "runs_dir",
    "include",
    "pool",
    "workers",
    "local",
    "use_ray",
)


def make_desk() -> Desk:
    """Where we are: variables, folder, home, code."""
    return Desk(
        os.environ, Path.cwd(), home_folder(), ROOT, checked_words, whole_mongo_url, whole_address
    )


def whole_mongo_url(url: str) -> str:
    """``url`` with its password, as the head is given it in secret.

    In a variable it may have one; on a command line, where it can be read, it may not: it is found
    where a run on this machine would find it. ``off`` stays: the head looks no further then.

    Raises:
        ConfigError: no URL of MongoDB, one with a password on the command line, or a user without.
    """
    if url != OFF and url == os.environ.get("WALKING_ES_MONGO_URL"):
        place = parse_place(url, "WALKING_ES_MONGO_URL")
        if place.user is None or place.password is not None:
            return url
    found = find_mongo(url)
    return OFF if found is None else found.url_with_password


def whole_address(url: str) -> str:
    """``url``, to which the head posts; or ``off``.

    Raises:
        ConfigError: it is no address.
    """
    webhook = find_webhook(url, {})
    return NOBODY if webhook is None else webhook.url


def checked_words(
    experiment: str, words: Sequence[str], mongo_url: str | None = None
) -> Sequence[str]:
    """``words`` as they stand after ``with`` on the head, settings files written out.

    Args:
        experiment: whose they are.
        words: names, settings files and ``key=value``, which come out as in a run on this machine.
        mongo_url: of the MongoDB that the head is given; None, and ``off``: of none.

    Raises:
        ConfigError: the experiment would not take them.
    """
    if experiment == "evaluate":
        _check_evaluation(words, has_mongo=mongo_url not in (None, OFF))
        return words
    # Not at the top: they bring numpy and Sacred.
    from nevergrad_es.configs import DEFAULTS
    from nevergrad_es.configs import NAMED_CONFIGS as NEVERGRADS
    from search.configs import NAMED_CONFIGS as OURS
    from search.run_config import parse_config
    from tracking.given_settings import merged
    from tracking.sacred_import import get_config_updates
    from training.session import settled

    known, defaults = (OURS, {}) if experiment == "es" else (NEVERGRADS, DEFAULTS)
    given = [word for word in words if "=" in word]
    for word in given:
        _check_place(*word.split("=", 1))
    try:
        updates, names = get_config_updates(words)
    except Exception as error:  # TypeError and the like, from `a=1 a.b=2`
        raise ConfigError(f"cannot read the settings `{' '.join(given)}`: {error}") from None
    values: dict[str, Any] = dict(defaults)
    files = {name: _settings_file(name, known) for name in names if name not in known}
    for name in names:
        values = merged(values, files[name] if name in files else known[name].options)
    values = merged(values, updates)
    in_files = dict.fromkeys(key for options in files.values() for key in options)
    settled(parse_config({**values, "pool": "redis"}), lambda line: None)
    return [
        *(name for name in names if name in known),
        # What else was said of them is in these already.
        *(f"{key}={values[key]!r}" for key in in_files),
        *(word for word in given if word.partition("=")[0].partition(".")[0] not in in_files),
    ]


def _check_evaluation(words: Sequence[str], *, has_mongo: bool) -> None:
    from env.evaluate import main as command

    try:
        options = command.make_context("evaluate", list(words)).params
    except click.UsageError as error:
        raise ConfigError(f"--config: {error.format_message()}; see env/evaluate.py") from None
    run_id = options["run_id"]
    if (run_id is None) == (options["gait_path"] is None):
        raise ConfigError(
            "--experiment=evaluate needs --config='--gait=FILE OPTIONS', as env/evaluate.py"
        )
    if run_id is not None and not has_mongo:
        raise ConfigError(
            f"{run_id} is a run of this machine, which the cluster does not have: name a gait of "
            "examples/gaits by --gait=FILE, or the MongoDB that has the run by --mongo_url"
        )


def _check_place(name: str, text: str) -> None:
    if name == "notify":
        raise ConfigError(
            "notify= would be read by every machine of the cluster: give it as --notify=URL"
        )
    if name in _OF_THE_CLUSTER:
        raise ConfigError(f"{name}= is the cluster's to say: leave it out (--include for modules)")
    if name == "resume" or (name == "load_from" and text.isdecimal()):
        raise ConfigError(
            f"{name}={text} is a run of this machine, which the cluster does not have: begin with "
            "load_from=FILE.json, a gait of examples/gaits"
        )


def _settings_file(word: str, known: Collection[str]) -> dict[str, Any]:
    """It stays here, so its settings are written out."""
    from tracking.given_settings import config_file

    if not word.endswith((".yml", ".yaml", ".json")):
        raise ConfigError(f"unknown config {word!r}{did_you_mean(word, known)}")
    values = config_file(Path(word))
    for name, value in values.items():
        _check_place(name, str(value))
    return values


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Launch a cluster, on AWS or on this machine."""


@cli.command("launch")
@LAUNCH
def launch_command(**options: Any) -> None:
    """Bring up a head and worker machines that train.

    Says what would be made and what that costs, and asks. Ctrl-C, or an error half-way, removes
    what was made. All ends itself with the run, after --max_hours, or when --budget_usd is spent.

    Settings may also be in cluster.toml or in variables, as in WALKING_ES_SIZE=5: docs/cluster.md.
    """
    launch(make_desk(), options)


@cli.command("compress")
@option("--include", type=click.Path(path_type=Path), help="A folder of your own, likewise.")
@option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(),
        help="Folder to write to.  [default: this one]")  # fmt: skip
def compress(include: Path | None, out: Path) -> None:
    """Write the archive of our code that launch would carry to machines, named by its sha256."""
    archives = [pack_source(ROOT, out)]
    if include is not None:
        archives.append(pack_include(include, out))
    for archive in archives:
        size_kb = archive.path.stat().st_size / 1000
        click.echo(f"{archive.path}: {len(archive.names)} files, {size_kb:.0f} kB")


def main() -> None:
    """Run the command; an error of ours is one line."""
    run(cli)


def run(commands: click.Group) -> None:
    """Run a group of commands; an error of ours is one line, and Ctrl-C no error."""
    try:
        code = commands.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("stopped")
        sys.exit(130)
    except EsError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
