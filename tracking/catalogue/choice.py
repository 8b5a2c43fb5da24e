"""Which runs are meant: ``pop_size=40``, ``lr<0.1``, a tag, a status, ``12-16``."""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import yaml

from errors import ConfigError, did_you_mean
from tracking.catalogue.summary import STATUSES, ListedRun, RunSummary, listed_runs
from tracking.identity import check_run_id

_CONDITION = re.compile(r"([A-Za-z_][\w.]*)\s*(!=|<=|>=|==|=|<|>)\s*(.*)", re.DOTALL)
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = object()


class _Yaml(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """To which ``1e-3`` is a number: YAML 1.1 wants a dot and a sign, and takes it for text."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class Listed(Protocol):
    """A run in a list, from wherever it is."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def status(self) -> str: ...
    @property
    def summary(self) -> RunSummary: ...


_Run = TypeVar("_Run", bound=Listed)

SORTS: Mapping[str, Callable[[Listed], Any]] = {
    "id": lambda run: run.summary.run_id,
    "when": lambda run: run.summary.started_s,
    "config": lambda run: run.summary.config_name or None,
    "env": lambda run: run.summary.env or None,
    "generations": lambda run: run.summary.generations,
    "current": lambda run: run.summary.current,
    "best": lambda run: run.summary.best,
    "status": lambda run: run.summary.status,
    "size": lambda run: run.summary.size_bytes,
}


class Condition(NamedTuple):
    """What a setting must be.

    Attributes:
        name: the option's; dots lead into it, as in ``env_options.preset``.
        sign: ``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``.
        value: as YAML has it; for text ``*`` and ``?`` stand for any letters.
        text: as it was given, to which YAML's ``off`` is a word like others.
    """

    name: str
    sign: str
    value: Any
    text: str

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether a run with this ``config`` fulfils it; one without the option never does."""
        found = _setting(config, self.name)
        if found is _MISSING:
            return False
        if self.sign in _ORDERED:
            return _is_number(found) and _ORDERED[self.sign](found, self.value)
        wanted = self.text if isinstance(found, str) else self.value
        return _is_equal(found, wanted) == (self.sign == "=")


def parse_condition(text: str) -> Condition:
    """The condition that ``text`` states.

    Raises:
        ConfigError: it states none.
    """
    match = _CONDITION.fullmatch(text.strip())
    expected = "expected such as pop_size=40, lr<0.1 or env_name=Lunar*"
    if match is None:
        raise ConfigError(f"--where {text!r} is no condition: {expected}")
    name, sign, given = match.groups()
    try:
        value = yaml.load(given, _Yaml)
    except yaml.YAMLError:
        value = given
    if given in ("None", ""):
        value = None
    if sign in _ORDERED and not _is_number(value):
        raise ConfigError(f"--where {text!r}: {sign} needs a number; {expected}")
    text = value if isinstance(value, str) else given  # without the quotes
    return Condition(name, "=" if sign == "==" else sign, value, text)


def check_names(conditions: Iterable[Condition], known: Iterable[str]) -> None:
    """Refuse conditions on options that are not ``known``, which no run could fulfil.

    Raises:
        ConfigError: there is one; names what may be meant.
    """
    options = set(known)
    for condition in conditions:
        name = condition.name.partition(".")[0]
        if name not in options:
            raise ConfigError(f"--where {name}: no run has such an option{_meant(name, options)}")


def chosen(
    runs: Sequence[_Run],
    *,
    conditions: Sequence[Condition] = (),
    statuses: Sequence[str] = (),
    tags: Sequence[str] = (),
) -> list[_Run]:
    """Those of ``runs`` that fulfil every condition, have one of ``statuses`` and all ``tags``.

    Raises:
        ConfigError: a status that no run can have.
    """
    wanted = {status.lower() for status in statuses}
    for status in sorted(wanted - set(STATUSES)):
        raise ConfigError(
            f"--status {status}: expected {', '.join(STATUSES)}{did_you_mean(status, STATUSES)}"
        )
    return [
        run
        for run in runs
        if all(condition.holds(run.config) for condition in conditions)
        and (not wanted or run.status in wanted)
        and set(tags) <= set(run.summary.tags if tags else ())
    ]


def in_order(runs: Iterable[_Run], by: str, limit: int | None = None) -> list[_Run]:
    """``runs`` by one of `SORTS`, from the greatest with a ``-`` before it; those without a value
    come last.

    Args:
        runs: in any order.
        by: which.
        limit: at most so many, the greatest; None: all.

    Raises:
        ConfigError: there is no such order.
    """
    name, is_reversed = by.lstrip("-"), by.startswith("-")
    if name not in SORTS:
        raise ConfigError(
            f"--sort {by}: expected {', '.join(SORTS)}, or one with - before it for the greatest "
            f"first{did_you_mean(name, SORTS)}"
        )
    key = SORTS[name]
    runs = list(runs)
    valued = [run for run in runs if _has_value(key(run))]
    valued.sort(key=key, reverse=is_reversed)
    others = [run for run in runs if not _has_value(key(run))]
    if limit is not None:
        valued = valued[:limit] if is_reversed else valued[-limit:]
        others = others[: limit - len(valued)]
    return valued + others


def named_runs(names: Sequence[str], runs_dir: Path) -> list[ListedRun]:
    """The runs that ``names`` name: ``12``, or those from ``12-16`` that there are. Damaged ones
    too.

    Raises:
        ConfigError: one that there is not; names the nearest.
    """
    there = {int(run.directory.name): run for run in listed_runs(runs_dir)}
    found: dict[int, ListedRun] = {}
    for name in names:
        check_run_id(name)
        match = _RANGE.fullmatch(name)
        first, last = (name, name) if match is None else match.groups()
        ids = range(int(first), int(last) + 1) if first.isdecimal() else range(0)
        numbers = [number for number in there if number in ids]
        if not numbers:
            raise ConfigError(f"no run {name} in {runs_dir.absolute()}{_nearest(ids, there)}")
        found |= {number: there[number] for number in numbers}
    return list(found.values())


def _setting(config: Mapping[str, Any], name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _is_equal(found: object, wanted: object) -> bool:
    if isinstance(found, str):
        return fnmatch.fnmatchcase(found, str(wanted))
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if _is_number(found) and _is_number(wanted):
        return math.isclose(found, wanted, rel_tol=1e-12)  # type: ignore[arg-type]
    return found == wanted


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_value(value: object) -> bool:
    return value is not None and value == value


def _meant(name: str, options: set[str]) -> str:
    return did_you_mean(name, options) or f" (those there are: {', '.join(sorted(options))})"


def _nearest(ids: range, there: Mapping[int, object]) -> str:
    if not there:
        return ": there are no runs there; give the folder with --runs_dir"
    near = sorted(there)[-3:]
    if len(ids):
        near = sorted(sorted(there, key=lambda number: abs(number - ids[0]))[:3])
    return f"; the nearest are {', '.join(map(str, near))}"
