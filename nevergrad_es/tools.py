"""Which optimiser a name stands for, and how one is made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import nevergrad
import numpy as np
import psutil
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from nevergrad.optimization.base import ConfiguredOptimizer, Optimizer
from numpy.typing import NDArray

from errors import ConfigError, did_you_mean

FULL_COVARIANCE_UP_TO = 1000
"""Parameters up to which ``tool=CMA`` learns a whole covariance matrix unless told otherwise."""

_MATRICES = 6
"""D x D float64 matrices that pycma holds at its peak: C, B, their update and the factorisation."""

_GOES_ON = {
    "tolfun": 0,
    "tolfunhist": 0,
    "tolfunrel": 0,
    "tolx": 0,
    "tolflatfitness": np.inf,
    "tolstagnation": np.inf,
    "tolfacupx": np.inf,
    "tolupsigma": np.inf,
    "tolconditioncov": np.inf,
    "maxiter": np.inf,
}

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
    stagnates: bool = False,
    notice: Notice = lambda line: None,
) -> Tool:
    """The tool of that name for searches that begin at ``theta0``.

    Args:
        name: of Nevergrad's registry, or a family's.
        options: parameters of the family.
        theta0: ``(D,)`` float32.
        bounds: least and greatest value of each parameter.
        budget: candidates in all; some tools choose their method by it.
        stagnates: CMA may say that it is at its end; otherwise it goes on for ever.
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
        settings["inopts"] = _inner_options(settings["inopts"], ends=stagnates)
        if bounds is not None:
            settings["scale"] /= _bounded_scale(len(theta0))
    elif options:
        entry = _with_options(name, entry, options)

    def make(regime: Regime) -> Optimizer:
        # As many asked as CMA has: Nevergrad would silently raise its population to them.
        chosen = entry
        if is_cma:
            chosen = nevergrad.families.ParametrizedCMA(**settings, popsize=regime.pop_size)
        return _made(name, chosen, _parameters(theta0, bounds, regime), budget, regime.pop_size)

    return Tool(name, make, is_cma)


def _entry(name: str) -> Entry:
    if name == "CMA":  # Nevergrad's own name for it stands for a choice among five others
        return nevergrad.families.ParametrizedCMA()
    if name in nevergrad.optimizers.registry:
        return nevergrad.optimizers.registry[name]
    if _is_family(name):
        return getattr(nevergrad.families, name)()
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
    settings = {**entry.config(), **options}
    del settings["popsize"]
    if settings["fcmaes"]:
        raise ConfigError(f"tool={name} needs the package fcmaes, which is not here: use tool=CMA")
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


def _inner_options(given: Mapping[str, Any] | None, *, ends: bool) -> dict[str, Any]:
    """Pycma's own options.

    Its default step-size rule counts on candidates that come back as they were drawn, and fails at
    some dimensions behind Nevergrad; cumulative step-size adaptation (Hansen 2016,
    arXiv:1604.00772, equations 43 and 44) does not.
    """
    return {"AdaptSigma": CMAAdaptSigmaCSA, **({} if ends else _GOES_ON), **(given or {})}


def _bounded_scale(num_parameters: int) -> float:
    """What Nevergrad multiplies CMA's first step size with where there are bounds."""
    return 0.3 if num_parameters < 18 else 0.15


def _with_options(name: str, entry: Entry, options: Mapping[str, Any]) -> Family:
    if not isinstance(entry, ConfiguredOptimizer):
        raise ConfigError(f"tool={name} has no options: leave tool_options out")
    _known(name, entry, options)
    try:
        made: Family = type(entry)(**{**entry.config(), **options})
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
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
    array = nevergrad.p.Array(init=theta0.astype(np.float64))
    if bounds is not None:
        array.set_bounds(*bounds)
    array.set_mutation(sigma=regime.sigma)
    array.random_state = np.random.RandomState(regime.seed)
    return array


def _made(
    name: str, entry: Entry, parameters: nevergrad.p.Array, budget: int, num_workers: int
) -> Optimizer:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice is about budgets that nobody chose
            made: Optimizer = entry(parameters, budget=budget, num_workers=num_workers)
    except ImportError as error:
        raise ConfigError(f"tool={name} cannot run here: {_why(error)}") from None
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        if num_workers > 1 and "parallelization" in str(error):
            raise ConfigError(
                f"tool={name} asks for one candidate at a time: set pop_size=1, or use a tool for "
                "many at once, such as CMA, TwoPointsDE or PSO"
            ) from None
        raise ConfigError(f"tool={name}: {_why(error)}") from None
    return made


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
