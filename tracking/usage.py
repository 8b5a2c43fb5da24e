"""What ``--help`` of an experiment command says, without Sacred, which takes a second to load."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_HELP_WORDS = ({"-h"}, {"--help"}, {"help"})

_USAGE = """\
Usage:
  python {program} [with NAME... KEY=VALUE...] [options]
  python {program} COMMAND [with NAME... KEY=VALUE...] [options]
  python {program} help COMMAND

{doc}

Commands:
  train                Train, and say how it went; also where no command is named.
  print_config         Print every option, with its value after what `with` says.
  print_named_configs  Print the names that may follow `with`, and what they are.
  print_dependencies   Print the source files and packages that a run records.
  save_config          Write the configuration to config_filename=FILE.

Options:
  -b S --beat-interval=S  Write to the run's directory every so many seconds.
  -c TEXT --comment=TEXT  Keep a comment with the run.
  -n NAME --name=NAME     Keep another name of the experiment with it.
  -P N --priority=N       Keep a priority with it.
  -p --print-config       Print the configuration first.
  -l LEVEL --loglevel=LEVEL  What Sacred says: DEBUG, INFO, WARNING, ERROR or CRITICAL.
  -e --enforce_clean      Refuse where files that git tracks were changed.
  -f --force              Say nothing of settings that look like mistakes.
  -d --debug              Show where an error came from.
  -D --pdb                Look around with pdb after one.
  -C WAY --capture=WAY    What of the output Sacred keeps: no, sys or fd.
  -h --help               This text.
  -F, -m, -s, -S, -t      Sacred's own observers: a folder, MongoDB, SQL, S3, TinyDB.
"""


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether ``argv``, like `sys.argv`, asks for `usage` and for nothing else."""
    return set(argv[1:]) in _HELP_WORDS


def usage(program: str, doc: str) -> str:
    """How ``program`` is used; ``doc`` says what for."""
    return _USAGE.format(program=program, doc=doc.strip())


def answer(argv: Sequence[str], doc: str) -> None:
    """End the program with `usage` where that is all that ``argv`` asks for."""
    if asks_for_help(argv):
        print(usage(argv[0], doc))
        sys.exit(0)
