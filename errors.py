"""Every error a user can meet, as one tree.

::

    EsError                     exit 1   anything this project raises on purpose
    |-- ConfigError             exit 2   a setting that cannot work: unknown, out of range
    |   `-- EnvUnavailable      exit 2   an environment that does not exist or is not installed
    |-- RunError                exit 3   the run itself cannot go on
    |   |-- RunAborted          exit 3   too many failed rollouts, no finite fitness
    |   |-- RunLocked           exit 3   another head holds the run
    |   `-- JournalDamaged      exit 3   a journal or snapshot that cannot be read back
    |-- ServiceUnavailable      exit 4   Redis cannot be reached, or is too old
    |   `-- AccessRefused       exit 4   it wants a password, or another one
    |-- ResourceExhausted       exit 5   shared memory, disk or a port that this machine cannot give
    `-- MessageError            exit 6   bytes from another process that are not a message of ours
        `-- VersionMismatch     exit 6   a message, code or noise table of another version

A message is one line: what was wrong, what was expected, what to do. Commands print it and leave
with the error's ``exit_code``; only a defect of ours shows a traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class EsError(Exception):
    """Root of every error raised on purpose."""

    exit_code = 1


class ConfigError(EsError):
    """A setting that cannot work."""

    exit_code = 2


class EnvUnavailable(ConfigError):
    """An environment that does not exist here, or whose package is not installed."""


class RunError(EsError):
    """The run cannot go on."""

    exit_code = 3


class RunAborted(RunError):
    """Evaluation failed too often to mean anything."""


class RunLocked(RunError):
    """Another head is at work on the same run."""


class JournalDamaged(RunError):
    """The journal or the snapshots of a run cannot be read back."""


class ServiceUnavailable(EsError):
    """A server this run needs does not answer as it should."""

    exit_code = 4


class AccessRefused(ServiceUnavailable):
    """The server is there and does not let us in."""


class ResourceExhausted(EsError):
    """The machine cannot give what was asked of it."""

    exit_code = 5


class MessageError(EsError):
    """Bytes that do not decode to one of our messages."""

    exit_code = 6


class VersionMismatch(MessageError):
    """The other side runs another version."""


def in_options(error: EsError) -> str:
    """What ``error`` says, for a command whose settings are options and no ``name=value``.

    >>> in_options(ConfigError("no folder was named: add include=FOLDER"))
    'no folder was named: add --include FOLDER'
    """
    return re.sub(r"\b(include|runs_dir)=FOLDER", r"--\1 FOLDER", str(error))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A phrase naming the close matches of ``name`` among ``known``, or an empty string.

    >>> did_you_mean("Landr", ["lander", "ant"])
    '; did you mean lander?'
    """
    spelt = {other.casefold(): other for other in sorted(known)}
    matches = difflib.get_close_matches(name.casefold(), spelt, n=3, cutoff=0.5)
    close = [spelt[match] for match in matches]
    return f"; did you mean {' or '.join(close)}?" if close else ""
