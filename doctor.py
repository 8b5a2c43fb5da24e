"""Say what works on this machine, a line each, and what to do about what does not.

``make doctor``. Each line is ``ok``, ``warn`` (something optional is missing) or ``FAIL`` (training
cannot work); the exit code is 1 if any line failed. It must speak when everything else is broken:
nothing but the standard library is imported before a check runs, what may hang or crash runs in a
process of its own, and a check that breaks is a line like any other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent
SETUP = "run make setup"
OLDEST, NEWEST = (3, 11), (3, 13)
OPENSIM_LIMIT_S = 120
REACH_LIMIT_S = 2.0
BROUGHT_IN = "# Brought in by"
OPENSIM_STEPS = """
import time
from env.registry import make
from env.spec import EnvSpec
env = make(EnvSpec("OpenSimWalk2D-v0"))
env.reset(seed=0)
start = time.perf_counter()
for _ in range(10):
    env.step(env.action_space.low)
print(f"{10 / (time.perf_counter() - start):.0f} steps a second on one core")
"""


class Finding(NamedTuple):
    """One line: ``level`` is ok, warn or FAIL; ``remedy`` says what to do about the latter two."""

    level: str
    subject: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        advice = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:4}  {self.subject:16}  {self.detail}{advice}"


Check = Callable[[], Iterator[Finding]]


class Pins(NamedTuple):
    """``{name: version}`` of a requirements file: what we import, and what that brings in.

    A pin with a marker (``; python_full_version < ...``) is left out: it may rightly be absent.
    """

    direct: dict[str, str]
    brought_in: dict[str, str]


def read_pins(path: Path) -> Pins:
    """The ``name==version`` lines of ``path``, split at the comment that starts `BROUGHT_IN`."""
    pins = Pins({}, {})
    section = pins.direct
    for line in path.read_text().splitlines():
        if line.startswith(BROUGHT_IN):
            section = pins.brought_in
        name, equal, version = line.partition("==")
        if equal and ";" not in line and not line.startswith("#"):
            section[name.partition("[")[0].strip()] = version.strip()
    return pins


def installed_version(name: str) -> str | None:
    """Of an installed distribution, without a local part such as ``+cpu``; ``None`` without one."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def installed_from() -> Path | None:
    """The folder that the editable install points to; ``None`` where there is no such install."""
    # The project's own folder may hold an .egg-info, which is a by-product and no install.
    for distribution in metadata.distributions(name="walking-es"):
        origin = distribution.read_text("direct_url.json")
        if origin:
            return Path(unquote(urlsplit(json.loads(origin)["url"]).path))
    return None


def check_python() -> Iterator[Finding]:
    found = f"{sys.version.split()[0]} in {sys.prefix}"
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        yield Finding("ok", "python", found)
    else:
        yield Finding(
            "FAIL", "python", f"{found}, expected 3.11 to 3.13", "make setup PYTHON=/path/to/python"
        )


def check_project() -> Iterator[Finding]:
    """Commands under es/ find the other folders only through the editable install."""
    folder = installed_from()
    if folder == ROOT:
        yield Finding("ok", "this project", f"installed from {ROOT}")
    elif folder is None:
        yield Finding("FAIL", "this project", "not installed", SETUP)
    else:
        yield Finding(
            "FAIL", "this project", f"installed from {folder}, not {ROOT}", "make clean setup"
        )


def check_packages() -> Iterator[Finding]:
    """A line for each package we import, and one for all that they bring in."""
    needed = read_pins(ROOT / "requirements.txt")
    no_deps = read_pins(ROOT / "requirements-no-deps.txt")
    tools = read_pins(ROOT / "requirements-dev.txt")
    for name, pin in {**needed.direct, **no_deps.direct}.items():
        yield _judge(name, pin, "FAIL")
    for name, pin in tools.direct.items():
        yield _judge(name, pin, "warn")
    rest = {**needed.brought_in, **tools.brought_in}
    wrong = [f for name, pin in rest.items() if (f := _judge(name, pin, "warn")).level != "ok"]
    yield from wrong
    yield Finding("ok", "what they need", f"{len(rest) - len(wrong)} of {len(rest)} at their pins")


def _judge(name: str, pin: str, otherwise: str) -> Finding:
    found = installed_version(name)
    if found == pin:
        return Finding("ok", name, pin)
    return Finding(otherwise, name, f"{found or 'not installed'}, expected {pin}", SETUP)


def check_opensim() -> Iterator[Finding]:
    """Ten steps of the model that `make train` trains, in a process that may hang or crash."""
    subject = "opensim steps"
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", OPENSIM_STEPS],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=OPENSIM_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield Finding("FAIL", subject, f"no end within {OPENSIM_LIMIT_S} s", SETUP)
        return
    if done.returncode == 0:
        yield Finding("ok", subject, done.stdout.strip().splitlines()[-1])
    else:
        said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        yield Finding("FAIL", subject, said[-1], SETUP)


def check_redis() -> Iterator[Finding]:
    """A server of our own, started and stopped; and the one that the environment names."""
    from errors import EsError
    from fleet.connection import URL_VARIABLE, connect
    from fleet.security.access import NO_ACCESS, Access, access_given
    from fleet.server.redis_server import RedisServer

    def answers(subject: str, url: str, access: Access) -> Finding:
        with connect(url, access=access, connect_timeout_s=REACH_LIMIT_S) as client:
            version = client.info("server")["redis_version"]
        return Finding("ok", subject, f"version {version}, never evicts")

    try:
        with RedisServer() as server:
            yield answers("redis, our own", server.url, NO_ACCESS)
    except EsError as error:
        yield Finding("FAIL", "redis, our own", str(error))
    named = os.environ.get(URL_VARIABLE)
    if named:
        try:
            yield answers(URL_VARIABLE, named, access_given())
        except EsError as error:
            yield Finding("FAIL", URL_VARIABLE, str(error))


def check_shared_memory() -> Iterator[Finding]:
    """The noise table of a run, drawn where runs keep theirs."""
    from errors import EsError
    from search.noise import DEFAULT_LENGTH, open_table

    folder = os.environ.get("ES_NOISE_DIR")
    try:
        with open_table(0, DEFAULT_LENGTH, Path(folder) if folder else None) as table:
            size_mb = table.values.nbytes / 1e6
    except EsError as error:
        yield Finding("FAIL", "shared memory", str(error))
    else:
        yield Finding("ok", "shared memory", f"takes the noise table of {size_mb:.0f} MB")


def check_pictures() -> Iterator[Finding]:
    """An off-screen frame, tried by a child: without a driver VTK takes its process with it."""
    from env.drawing import INSTALL_GL
    from env.musculoskeletal.scene import drawing_window

    window = drawing_window()
    if window:
        yield Finding("ok", "pictures (GL)", f"bones are drawn off screen ({window})")
    else:
        detail = "no OpenGL that draws off screen: films show lines for bones, MuJoCo none at all"
        yield Finding("warn", "pictures (GL)", detail, INSTALL_GL)


def check_mongodb() -> Iterator[Finding]:
    """The one that runs are recorded in, asked as a run asks it."""
    from errors import ConfigError, EsError
    from tracking.mongo.connection import connected
    from tracking.mongo.place import URL_VARIABLE, find_mongo, url_file

    subject = "mongodb"
    try:
        place = find_mongo(None)
        if place is None:
            detail = f"not configured, not needed ({URL_VARIABLE}, or {url_file()})"
            yield Finding("ok", subject, detail)
        elif place.url.startswith("mongodb+srv:"):
            yield Finding("ok", subject, "configured by a DNS name that only a run looks up")
        else:
            with connected(place) as database:
                version = database.client.server_info()["version"]
            yield Finding("ok", subject, f"version {version} takes runs at {place}")
    except ConfigError as error:
        yield Finding("FAIL", subject, str(error))
    except EsError as error:
        yield Finding("warn", subject, str(error))


def check_dashboard() -> Iterator[Finding]:
    """What ``make dashboard`` starts."""
    from errors import EsError
    from tracking.mongo.mongod_binary import mongod_binary

    subject = "make dashboard"
    try:
        mongod = mongod_binary()
    except EsError as error:
        yield Finding("warn", subject, str(error))
        return
    lacking = [name for name in ("node", "npm") if shutil.which(name) is None]
    if lacking:
        detail = f"needs Node 18 or newer with npm, no {' and no '.join(lacking)} here"
        yield Finding("warn", subject, detail, "apt-get install nodejs npm")
    else:
        yield Finding("ok", subject, f"{mongod}, and Omniboard by npm")


def check_aws() -> Iterator[Finding]:
    variables = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    files = {
        "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
        "AWS_CONFIG_FILE": "~/.aws/config",
    }
    found = [name for name in variables if os.environ.get(name)]
    for name, default in files.items():
        path = Path(os.environ.get(name, default)).expanduser()
        found += [str(path)] if path.is_file() else []
    where = f"credentials in {', '.join(found)}" if found else "not configured"
    yield Finding("ok", "aws", f"{where}, needed only for cluster/")


CHECKS: tuple[Check, ...] = (
    check_python,
    check_project,
    check_packages,
    check_opensim,
    check_redis,
    check_shared_memory,
    check_pictures,
    check_mongodb,
    check_dashboard,
    check_aws,
)


def examine(check: Check) -> Iterator[Finding]:
    """What ``check`` finds; that it broke, if it does."""
    try:
        yield from check()
    except Exception as error:
        subject = check.__name__[len("check_") :].replace("_", " ")
        yield Finding("FAIL", subject, f"{type(error).__name__}: {error}", SETUP)


def main() -> int:
    failed = warned = 0
    # Before the set-up there is one thing to do, and no use in thirty lines that say so.
    checks = CHECKS if installed_from() else (check_python, check_project)
    for check in checks:
        for finding in examine(check):
            print(finding, flush=True)
            failed += finding.level == "FAIL"
            warned += finding.level == "warn"
    print(f"doctor: {failed} failed, {warned} warned")
    return 1 if failed else 0


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    sys.exit(main())
