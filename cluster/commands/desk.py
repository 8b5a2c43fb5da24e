"""Where commands are given: the settings that are in force there, and who provides machines."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from cluster.aws.settings import AwsSettings
from cluster.local.provider import LocalProvider
from cluster.names import owner_name
from cluster.provider import Provider
from cluster.settings import (
    PREFIX,
    Chosen,
    LaunchSettings,
    check_names,
    check_variables,
    merged,
    read_settings,
)
from errors import ConfigError

CheckConfig = Callable[[str, Sequence[str], str | None], Sequence[str]]
"""Words after ``with``, for an experiment that is given this MongoDB, if any, as its machines can
read them."""

Options = Mapping[str, Any]

PROVIDER_VARIABLE = f"{PREFIX}PROVIDER"


class Desk(NamedTuple):
    """What a command has to go by, besides its options.

    Attributes:
        environment: variables.
        folder: where it is given.
        home: where settings, and clusters of this machine, are kept.
        root: of this project's code.
        check_config: refuses what no experiment would take.
        mongo_url: a URL with the password that belongs to it; refuses one that cannot be.
        notify: an address to post to; refuses what cannot be one.
    """

    environment: Mapping[str, str]
    folder: Path
    home: Path
    root: Path
    check_config: CheckConfig
    mongo_url: Callable[[str], str] = str
    notify: Callable[[str], str] = str

    def settings(self, options: Options) -> LaunchSettings:
        """What is the same for all providers; the owner is filled in.

        Raises:
            ConfigError: a setting that cannot be.
        """
        check_variables(self.environment, LaunchSettings, AwsSettings)
        chosen = self._chosen()
        check_names(AwsSettings, chosen, "aws")
        given = {name: _plain(value) for name, value in options.items()}
        settings = merged(LaunchSettings, chosen, self.environment, given)
        return settings if settings.owner else _with_owner(settings)

    def provider(self, options: Options) -> Provider:
        """Who provides machines.

        Raises:
            ConfigError: a setting that cannot be, or what is needed to reach it is missing.
        """
        if self.settings(options).provider == "local":
            return LocalProvider(self.home, self.environment)
        provider: Provider = self.aws(options)
        return provider

    def provider_of(self, name: str, options: Options) -> Provider:
        """Who provides the machines of the cluster ``name``. Where nobody was chosen, it may be
        this machine without being said.

        Raises:
            ConfigError: as `provider`.
        """
        local = self._local_if_open(options)
        here = [] if local is None else local.clusters(None)
        if local is not None and any(name in (state.name, state.key) for state in here):
            return local
        try:
            return self.provider(options)
        except ConfigError:
            if local is None or not here:
                raise
            return local

    def providers(self, options: Options) -> list[Provider]:
        """Who may have clusters: who was chosen, else this machine too, if it has any; then AWS
        only if it can be reached.

        Raises:
            ConfigError: as `provider`.
        """
        local = self._local_if_open(options)
        if local is None or not local.clusters(None):
            return [self.provider(options)]
        try:
            return [local, self.provider(options)]
        except ConfigError as error:
            say(f"clusters of this machine only: {str(error).partition(':')[0]}")
            return [local]

    def _local_if_open(self, options: Options) -> Provider | None:
        """The provider of clusters here, where none was chosen."""
        chosen = self._chosen().common.get("provider") or self.environment.get(PROVIDER_VARIABLE)
        if chosen or options.get("provider"):
            return None
        return LocalProvider(self.home, self.environment)

    def aws(self, options: Options) -> Any:
        """AWS, for what only it can do: an `AwsProvider`.

        Raises:
            ConfigError: a setting that cannot be, or no credentials.
        """
        # Not at the top: boto3 takes a second, and nothing local needs it.
        from cluster.aws.provider import AwsProvider
        from cluster.aws.session import connect

        settings = self.aws_settings(options)
        return AwsProvider(connect(settings), settings)

    def aws_settings(self, options: Options) -> AwsSettings:
        """What is chosen about AWS.

        Raises:
            ConfigError: a setting that cannot be.
        """
        given = {name: _plain(value) for name, value in options.items()}
        for name in ("worker_types", "subnet_ids"):
            if given.get(name) is not None:
                words = [given[name]] if isinstance(given[name], str) else given[name]
                given[name] = [word.strip() for text in words for word in text.split(",")]
        return merged(AwsSettings, self._chosen(), self.environment, given, table="aws")

    def _chosen(self) -> Chosen:
        return read_settings(self.environment, self.folder, self.home)


def say(line: str) -> None:
    """Tell people a line, beside what a command is asked for."""
    click.echo(line, err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless it has been answered.

    Raises:
        ConfigError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on: say --yes if you mean it")
    click.confirm(question, abort=True, err=True)


def _with_owner(settings: LaunchSettings) -> LaunchSettings:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = ""
    return msgspec.structs.replace(settings, owner=owner_name(user))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return value or None if isinstance(value, tuple) else value
