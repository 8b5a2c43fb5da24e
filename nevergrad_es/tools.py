"""Which optimiser a name stands for, and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import nevergrad
import numpy as np
import psutil
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from nevergrad.optimization.base import ConfiguredOptimizer, Optimizer
from nevergrad.optimization.recaster import RecastOptimizer
from nevergrad.optimization.utils import Archive
from numpy.typing import NDArray

from errors import ConfigError, did_you_mean

FULL_COVARIANCE_UP_TO = 1000
"""Parameters up to which ``tool=CMA`` learns a whole covariance matrix unless told otherwise."""

_MATRICES = 6
"""D x D float64 matrices that pycma holds at its peak: C, B, their update and the factorisation."""

_INNER_OPTIONS = {"AdaptSigma": CMAAdaptSigmaCSA, "signals_filename": None}
"""Options of pycma's own.

Its default step-size rule counts on candidates that come back as they were drawn, and fails at some
dimensions behind Nevergrad; cumulative step-size adaptation (Hansen 2016, arXiv:1604.00772,
equations 43 and 44) does not. Nor is any file of the folder that a run is started in to steer it.
"""

# Nevergrad's optimisers that run in a thread of their own say so in `__del__`, which without this
# prints a traceback for each that refuses to be made.
RecastOptimizer._messaging_thread = None

Family: TypeAlias = ConfiguredOptimizer
Entry: TypeAlias = ConfiguredOptimizer | type[Optimizer]
Notice = Callable[[str], None]


class Regime(NamedTuple):
    """One descent's population and first step size, and the seed of what it draws."""

    pop_size: int
    sigma: float
    seed: int


class Tool(NamedTuple):
    """An optimiser of Nevergrad's, ready to be made any number of times.

    Attributes:
        name: as the user gave it.
        make: one for a regime.
        is_cma: whether it is pycma's CMA-ES, whose mean and whose stagnation can be asked about.
    """

    name: str
    make: Callable[[Regime], Optimizer]
    is_cma: bool


@cache
def tool_names() -> tuple[str, ...]:
    """Every name of Nevergrad's registry, and of its families."""
    families = [name for name in dir(nevergrad.families) if _is_family(name)]
    return tuple(sorted({*nevergrad.optimizers.registry.keys(), *families}))


def find_tool(
    name: str,
    options: Mapping[str, Any],
    theta0: NDArray[np.float32],
    *,
    bounds: tuple[float, float] | None = None,
    budget: int,
    notice: Notice = lambda line: None,
) -> Tool:
    """The tool of that name for searches that begin at ``theta0``.

    Args:
        name: of Nevergrad's registry, or a family's.
        options: parameters of the family.
        theta0: ``(D,)`` float32.
        bounds: least and greatest value of each parameter.
        budget: candidates in all; some tools choose their method by it.
        notice: where a line for people goes.

    Raises:
        ConfigError: no such tool or option, theta0 out of bounds, or it cannot run here.
    """
    if bounds is not None and not (bounds[0] <= theta0.min() and theta0.max() <= bounds[1]):
        raise ConfigError(
            f"bounds={list(bounds)}: the first parameters lie between {theta0.min():.3g} and "
            f"{theta0.max():.3g}: widen the bounds, or begin elsewhere by load_from"
        )
    entry = _entry(name)
    is_cma = isinstance(entry, nevergrad.families.ParametrizedCMA)
    if is_cma:
        settings = _cma_settings(name, entry, options, len(theta0), notice)
    elif options:
        entry = _with_options(name, entry, options)

    def make(regime: Regime) -> Optimizer:
        parameters = _parameters(theta0, bounds, regime)
        try:
            if is_cma:
                return _made_cma(settings, parameters, budget, regime.pop_size)
            return entry(parameters, budget=budget, num_workers=regime.pop_size)
        except Exception as error:  # three hundred optimisers raise whatever they like
            raise _refusal(name, error, regime.pop_size) from None

    return Tool(name, make, is_cma)


def _entry(name: str) -> Entry:
    if name == "CMA":  # Nevergrad's own name for it stands for a choice among five others
        return nevergrad.families.ParametrizedCMA()
    if name in nevergrad.optimizers.registry:
        return nevergrad.optimizers.registry[name]
    if _is_family(name):
        try:
            return getattr(nevergrad.families, name)()
        except TypeError as error:
            raise ConfigError(
                f"tool={name} cannot be made from its name alone ({_why(error)}): use one of the "
                "optimisers that Nevergrad has made of it"
            ) from None
    raise ConfigError(
        f"tool={name}: Nevergrad has no such optimiser{did_you_mean(name, tool_names())} "
        "(openai_es is ours; nevergrad.github.io has the list)"
    )


def _is_family(name: str) -> bool:
    found = getattr(nevergrad.families, name, None)
    return isinstance(found, type) and issubclass(found, ConfiguredOptimizer)


def _cma_settings(
    name: str, entry: Family, options: Mapping[str, Any], num_parameters: int, notice: Notice
) -> dict[str, Any]:
    """All settings of pycma's family but the population."""
    _known(name, entry, options)
    if "popsize" in options or "popsize_factor" in options:
        raise ConfigError(f"tool={name}: set its population by pop_size, not by tool_options")
    if "inopts" in options:
        raise ConfigError(f"tool={name}: pycma's own options stay as they are: leave out inopts")
    settings = {**entry.config(), **options}
    del settings["popsize"]
    settings["inopts"] = {**_INNER_OPTIONS, **(settings["inopts"] or {})}
    if settings["fcmaes"]:
        raise ConfigError(f"tool={name} needs the package fcmaes, which is not here: use tool=CMA")
    if num_parameters < 2:
        raise ConfigError(
            f"tool={name} needs two parameters or more, and there is one: use tool=OnePlusOne"
        )
    if num_parameters <= FULL_COVARIANCE_UP_TO or settings["diagonal"]:
        return settings
    needed = _MATRICES * 8 * num_parameters**2
    if "diagonal" not in options:
        notice(
            f"tool={name} with {num_parameters} parameters: a whole covariance matrix would take "
            f"{needed / 2**30:.1f} GiB and far more candidates than there will be to learn, so it "
            "learns the diagonal only; tool=openai_es is made for this size, and "
            "tool_options.diagonal=False insists on the whole matrix"
        )
        return {**settings, "diagonal": True}
    free = psutil.virtual_memory().available
    if needed > free:
        raise ConfigError(
            f"tool={name} tool_options.diagonal=False: a covariance matrix of {num_parameters} "
            f"parameters needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free: leave "
            "tool_options.diagonal out, or use tool=openai_es"
        )
    return settings


def _made_cma(
    settings: Mapping[str, Any], parameters: nevergrad.p.Array, budget: int, pop_size: int
) -> Optimizer:
    if pop_size < 2:
        raise ValueError(f"it needs a pop_size of 2 at least, not {pop_size}")
    scale = settings["scale"]
    if nevergrad.p.helpers.Normalizer(parameters).fully_bounded:
        scale /= 0.3 if parameters.dimension < 18 else 0.15  # as much smaller Nevergrad makes it
    family = nevergrad.families.ParametrizedCMA(**{**settings, "scale": scale}, popsize=pop_size)
    # More workers than candidates, and for an elitist as many, would silently raise its population.
    made = family(parameters, budget=budget, num_workers=pop_size - bool(settings["elitist"]))
    # Nevergrad asks this before every candidate, and begins anew, unseen, where the answer is yes.
    made.es.stop = dict
    # Of all that it was told Nevergrad keeps hundreds to recommend one, which nobody asks it for.
    made.pruning = lambda archive: Archive()
    return made


def has_stagnated(cma: Optimizer) -> bool:
    """Whether pycma's CMA-ES, made by a `Tool`, says that it is at its end."""
    es = cma.es
    return bool(type(es).stop(es))


def _with_options(name: str, entry: Entry, options: Mapping[str, Any]) -> Family:
    if not isinstance(entry, ConfiguredOptimizer):
        raise ConfigError(f"tool={name} has no options: leave tool_options out")
    _known(name, entry, options)
    try:
        made: Family = type(entry)(**{**entry.config(), **options})
    except Exception as error:  # as above
        raise ConfigError(f"tool={name} tool_options={dict(options)}: {_why(error)}") from None
    return made


def _known(name: str, entry: Family, options: Iterable[str]) -> None:
    known = sorted(entry.config())
    for option in options:
        if option not in known:
            raise ConfigError(
                f"tool_options.{option}: tool={name} has no such option"
                f"{did_you_mean(option, known)}; it has {', '.join(known)}"
            )


def _parameters(
    theta0: NDArray[np.float32], bounds: tuple[float, float] | None, regime: Regime
) -> nevergrad.p.Array:
    init = theta0.astype(np.float64)
    if bounds is not None:
        init = init.clip(*bounds)  # a float32 may lie a hair beyond the bound that it stands for
    array = nevergrad.p.Array(init=init)
    if bounds is not None:
        array.set_bounds(*bounds)
    array.set_mutation(sigma=regime.sigma)
    array.random_state = np.random.RandomState(regime.seed)
    return array


def _refusal(name: str, error: Exception, num_workers: int) -> ConfigError:
    if isinstance(error, ImportError):
        return ConfigError(f"tool={name} cannot run here: {_why(error)}")
    if num_workers > 1 and "parallelization" in str(error):
        return ConfigError(
            f"tool={name} asks for one candidate at a time: set pop_size=1, or use a tool for "
            "many at once, such as CMA, TwoPointsDE or PSO"
        )
    return ConfigError(f"tool={name} cannot be had with these settings: {_why(error)}")


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
