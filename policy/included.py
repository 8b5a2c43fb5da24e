"""Code of the user's own, taken only from a folder that the user named."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

from errors import ConfigError

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def import_included(module: str, include: Path | None) -> ModuleType:
    """``module``, which must be a file or package in the folder ``include``.

    The folder goes to the end of ``sys.path``, so that nothing in it can stand in for an installed
    package. A name that comes over the wire therefore imports nothing that the person who started
    this process did not allow.

    Raises `ConfigError` when no folder was named, when the module is not in it, when another module
    of that name is found first, and when the module fails to import.
    """
    if not _MODULE.fullmatch(module):
        raise ConfigError(f"{module!r} is no module name: write module:Id or module.Class")
    if include is None:
        raise ConfigError(
            f"module {module} is code of your own, and no folder was named: add include=FOLDER"
        )
    folder = include.resolve()
    path = folder.joinpath(*module.split("."))
    if not path.with_suffix(".py").is_file() and not (path / "__init__.py").is_file():
        raise ConfigError(f"no module {module} in {include}: expected {path.with_suffix('.py')}")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # whatever a user's file does when it is run
        raise ConfigError(
            f"module {module} of {include} does not import: {one_line(error)}"
        ) from error
    if folder not in Path(getattr(loaded, "__file__", None) or "/").resolve().parents:
        raise ConfigError(
            f"module {module} of {include} has the name of an installed one: rename yours"
        )
    return loaded


def import_function(name: object, include: Path | None) -> Callable[..., object]:
    """The function that ``module:function`` names in the folder ``include``.

    Raises `ConfigError` as `import_included` does, and when it is no function of that module.
    """
    module, colon, function = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not colon:
        raise ConfigError(f"{name!r} is no function of yours: write module:function")
    found = getattr(import_included(module, include), function, None)
    if not callable(found):
        raise ConfigError(f"module {module} of {include} has no function {function!r}")
    return cast("Callable[..., object]", found)


def included_file(name: object, include: Path | None) -> Path:
    """The file called ``name`` in the folder ``include``.

    Raises `ConfigError` when no folder was named, and when the file is not in it.
    """
    if include is None:
        raise ConfigError(f"{name} is a file of your own, and no folder was named: include=FOLDER")
    folder = include.resolve()
    path = (folder / str(name)).resolve()
    if folder not in path.parents or not path.is_file():
        raise ConfigError(f"no file {name} in {include}: expected its path within that folder")
    return path


def one_line(error: BaseException) -> str:
    """Kind and first line of an error, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
