"""A Sacred experiment that says where its code comes from, without asking git once a file."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tracking.sacred_import import Experiment

_GIT_TIMEOUT_S = 5.0
# Said by Sacred besides the exception that says it better.
_SAID_TWICE = frozenset({"Aborted after %s!", "Failed after %s!"})


class TrackedExperiment(Experiment):
    """Make it in the command's own file, so that its docstring becomes the command's help::

    experiment = TrackedExperiment("es", base_dir=ROOT, save_git_info=False)
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._hidings: dict[str, Callable[[str], str]] = {}
        self.concealed: dict[str, str] = {}
        """Settings as they were given, of those that `conceal` names."""

    def conceal(self, name: str, hide: Callable[[str], str]) -> None:
        """Have runs record ``hide(value)`` of the setting ``name``: it may hold a secret."""
        self._hidings[name] = hide

    def _create_run(self, *args: Any, **options: Any) -> Any:
        run: Any = super()._create_run(*args, **options)  # type: ignore[no-untyped-call]
        for name, hide in self._hidings.items():
            value = run.config.get(name)
            if isinstance(value, str) and value:
                self.concealed[name] = value
                hidden = hide(value)
                run.config[name] = hidden
                # Sacred records the command line too.
                run.meta_info = _hidden_in(run.meta_info, name, value, hidden)
        return run

    def get_experiment_info(self) -> dict[str, Any]:
        """Sacred's facts, with our modules as sources and one look at git."""
        info: dict[str, Any] = super().get_experiment_info()  # type: ignore[no-untyped-call]
        base_dir = Path(str(self.base_dir))
        info["sources"] = [[name, digest] for name, digest in _imported_sources(base_dir)]
        info["dependencies"] = _installed_distributions()
        info["repositories"] = _repositories(base_dir)
        return info

    def add_described_config(self, name: str, doc: str, options: dict[str, Any]) -> None:
        """Add a named config of which ``print_named_configs`` shows ``doc``."""
        self.add_named_config(name, options)  # type: ignore[no-untyped-call]
        self.named_configs[name].__doc__ = doc


def quiet_logger(name: str) -> logging.Logger:
    """A logger for Sacred that tells warnings in one line each, on the stderr of the moment."""
    logger = logging.getLogger(f"tracking.sacred.{name}")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.handlers = [_OneLineHandler()]
    return logger


class _OneLineHandler(logging.Handler):
    """Looks stderr up each time: a live console replaces it while it shows."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg in _SAID_TWICE:
            return
        # Sacred logs whole tracebacks of observers; their last line says what happened.
        lines = record.getMessage().strip().splitlines()
        print(f"sacred: {lines[-1] if lines else ''}", file=sys.stderr)


def _hidden_in(place: Any, name: str, secret: str, hidden: str) -> Any:
    """A copy of ``place``, as JSON has it, that has ``hidden`` for ``secret``, by itself and as a
    word of a command line.
    """
    if isinstance(place, str):
        is_word = place.partition("=")[0].strip() == name and "=" in place
        return f"{name}={hidden}" if is_word else hidden if place == secret else place
    if isinstance(place, Mapping):
        return {key: _hidden_in(inner, name, secret, hidden) for key, inner in place.items()}
    if isinstance(place, list | tuple):
        return [_hidden_in(inner, name, secret, hidden) for inner in place]
    return place


def _imported_sources(base_dir: Path) -> list[tuple[str, str]]:
    """Path from ``base_dir`` and MD5 (Sacred's choice) of each of our modules imported so far."""
    found: dict[str, str] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not name or not name.endswith(".py"):
            continue
        path = Path(name)
        if not path.is_relative_to(base_dir) or "site-packages" in path.parts:
            continue
        try:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        except OSError:
            continue
        found[path.relative_to(base_dir).as_posix()] = digest
    return sorted(found.items())


def _installed_distributions() -> list[str]:
    """``name==version`` of everything installed, as ``pip freeze`` would say."""
    found = {}
    for distribution in metadata.distributions():
        name = distribution.name
        if name:
            found[name.lower()] = f"{name}=={distribution.version}"
    return [found[name] for name in sorted(found)]


def _repositories(base_dir: Path) -> list[dict[str, Any]]:
    """The commit under ``base_dir`` and whether tracked files differ; empty without git."""
    commit = _git(base_dir, "rev-parse", "HEAD")
    changes = _git(base_dir, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return []
    return [{"url": f"git:/{base_dir}", "commit": commit, "dirty": bool(changes)}]


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
