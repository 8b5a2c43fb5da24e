"""What a user has chosen: options before the environment, the environment before cluster.toml.

``cluster.toml`` lies in the folder where a command is given, or in ``~/.walking-es``::

    provider = "aws"
    owner = "ada"
    max_hours = 12

    [aws]
    region = "eu-central-1"
    worker_types = ["c7i.2xlarge", "c6i.2xlarge"]

Each is also a variable, ``WALKING_ES_MAX_HOURS``, ``WALKING_ES_WORKER_TYPES`` (with commas), and an
option. None of them may be a secret: what is one has a variable and an option of its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from errors import ConfigError, EsError, did_you_mean

FILE = "cluster.toml"
FILE_VARIABLE = "WALKING_ES_SETTINGS"
PREFIX = "WALKING_ES_"

ProviderName = Literal["aws", "local"]

_Settings = TypeVar("_Settings", bound=msgspec.Struct)
_OTHERS = {"HOME", "SETTINGS", "MACHINE", "MONGO_URL", "ENDS_S", "LOGS"}
"""Variables of ours that are about something else."""
_SECRET = re.compile(r"mongo_url|password|secret|token|access_key")


class LaunchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is the same for all who provide machines; see `cluster.spec.ClusterSpec`.

    Attributes:
        provider: who does.
        owner: empty: the user's name on this machine.
        cluster_name: empty: a word that no other cluster has.
        size: worker machines.
        workers_per_machine, experiment, config, worker_command, max_hours, budget_usd, keep: as in
            the spec; ``config`` in one string.
        include: folder or file of the user's own; empty: none.
        requirements: file with packages that it needs; empty: none.
    """

    provider: ProviderName = "aws"
    owner: str = ""
    cluster_name: str = ""
    size: int = 1
    workers_per_machine: int | None = None
    experiment: Literal["es", "nevergrad", "evaluate"] = "es"
    config: str = ""
    worker_command: str | None = None
    include: str = ""
    requirements: str = ""
    max_hours: float = 24.0
    budget_usd: float | None = None
    keep: bool = False


class Chosen(NamedTuple):
    """What a settings file says.

    Attributes:
        path: the file; None: there is none.
        common: for `LaunchSettings`.
        tables: for each provider, by its name.
    """

    path: Path | None
    common: dict[str, Any]
    tables: dict[str, dict[str, Any]]


def read_settings(environment: Mapping[str, str], folder: Path, home: Path) -> Chosen:
    """The settings file: the one that ``WALKING_ES_SETTINGS`` names, else ``folder``'s, else
    ``home``'s; none is no error.

    Raises:
        ConfigError: it cannot be read.
    """
    named = environment.get(FILE_VARIABLE)
    path = Path(named) if named else folder / FILE
    if not named and not path.is_file():
        path = home / FILE
    if not named and not path.is_file():
        return Chosen(None, {}, {})
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): correct it") from None
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    common = {name: value for name, value in values.items() if name not in tables}
    for name in tables:
        if name not in get_args(ProviderName):
            known = did_you_mean(name, get_args(ProviderName))
            raise ConfigError(f"{path}: unknown table [{name}]{known}")
    return Chosen(path, common, tables)


def merged(
    kind: type[_Settings],
    chosen: Chosen,
    environment: Mapping[str, str],
    options: Mapping[str, Any],
    *,
    table: str | None = None,
) -> _Settings:
    """Settings of a kind from all three places.

    Args:
        kind: what settings there are, of which type and with which default.
        chosen: the settings file.
        environment: with variables such as ``WALKING_ES_SIZE``.
        options: those that were given; None: it was not.
        table: of the file; None: what is in no table.

    Raises:
        ConfigError: an unknown one in the file, a secret in it, or a value that cannot be.
    """
    hints = get_type_hints(kind)
    in_file = chosen.common if table is None else chosen.tables.get(table, {})
    check_names(kind, chosen, table)
    values: dict[str, Any] = {}
    for name, hint in hints.items():
        variable = PREFIX + name.upper()
        if options.get(name) is not None:
            values[name] = _converted(hint, options[name], f"--{name}")
        elif environment.get(variable):
            values[name] = _converted(hint, environment[variable], variable, is_text=True)
        elif name in in_file:
            values[name] = _converted(hint, in_file[name], f"{chosen.path}: {name}")
    try:
        return kind(**values)
    except EsError as error:
        raise ConfigError(f"{error}") from None


def check_variables(environment: Mapping[str, str], *kinds: type[msgspec.Struct]) -> None:
    """Refuse variables of ours that nothing reads, which are misspelt.

    Raises:
        ConfigError: there is one; those that it may be meant for are named.
    """
    known = {PREFIX + name.upper() for kind in kinds for name in kind.__struct_fields__}
    known |= {PREFIX + name for name in _OTHERS}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"unknown variable {name}{did_you_mean(name, known)}; unset it")


def check_names(kind: type[msgspec.Struct], chosen: Chosen, table: str | None) -> None:
    """Refuse settings of the file, or of one of its tables, that ``kind`` does not have.

    Raises:
        ConfigError: there is one, or a secret.
    """
    for name in chosen.common if table is None else chosen.tables.get(table, {}):
        if name not in kind.__struct_fields__:
            raise _unknown(name, kind.__struct_fields__, chosen.path, table)


def _unknown(name: str, known: Sequence[str], path: Path | None, table: str | None) -> ConfigError:
    if _SECRET.search(name.lower()):
        return ConfigError(
            f"{path}: {name} is a secret, which no settings file should hold: remove it there, and "
            "give mongo_url as WALKING_ES_MONGO_URL or by --mongo_url"
        )
    place = f" of table [{table}]" if table else ""
    return ConfigError(f"{path}: unknown setting {name!r}{place}{did_you_mean(name, known)}")


def _converted(hint: Any, value: Any, place: str, *, is_text: bool = False) -> Any:
    if is_text and get_origin(hint) is tuple:
        value = [word.strip() for word in value.split(",") if word.strip()]
    try:
        return msgspec.convert(value, hint, strict=not is_text)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{place}={value!r}: {_in_words(str(error))}") from None


def _in_words(error: str) -> str:
    """Msgspec's words for a type that does not fit, without its places."""
    return error.partition(" - at `$")[0][:1].lower() + error.partition(" - at `$")[0][1:]
