"""Nevergrad's optimisers (Bennet et al. 2021, "Nevergrad: black-box optimization platform")."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import nevergrad
import numpy as np
from nevergrad.optimization.base import Optimizer
from numpy.typing import NDArray

from errors import ConfigError, RunAborted, RunError
from nevergrad_es.private_randomness import PrivateRandomness
from nevergrad_es.restarts import Descent, first_descent, next_descent
from nevergrad_es.tools import Tool, has_stagnated
from search.candidate_fitness import candidate_fitness
from search.messages import Genomes

NO_RESTARTS = "none"
_MOST_OPEN = 1000


class NevergradStrategy:
    """An optimiser of Nevergrad's, a generation of candidates at a time or one by one.

    Fulfils `search.protocol.Strategy`. An optimiser of Nevergrad's has no state that could be
    written down, so what is kept is all it was ever told, and in which order it was asked: replayed
    into a new one, that gives the same one to the bit.

    Theta is the mean of CMA's distribution, which noise misleads less than its luckiest candidate
    (Hansen 2016, arXiv:1604.00772, section B.1), and of other tools what Nevergrad recommends; or,
    where there is no luck, the best candidate that there was.

    Args:
        theta0: ``(D,)`` float32, where the search begins; copied.
        make_tool: the tool for a budget of candidates.
        run_seed: 0 to 2**53.
        pop_size: C: candidates in a generation, and CMA's population.
        sigma: the first step size.
        budget: candidates in all; some tools choose their method by it, so a resumed search keeps
            the one it began with.
        asynchronous: generations are of one candidate, and told in any order.
        restarts: a rule of `nevergrad_es.restarts.next_descent`, or ``none``.
        believes_best: theta is the best candidate so far, the first of equals.

    Raises:
        ConfigError: a setting that is out of range, or that the tool cannot have.
    """

    def __init__(
        self,
        theta0: NDArray[np.float32],
        make_tool: Callable[[int], Tool],
        *,
        run_seed: int,
        pop_size: int,
        sigma: float,
        budget: int,
        asynchronous: bool = False,
        restarts: str = NO_RESTARTS,
        believes_best: bool = False,
    ) -> None:
        if theta0.ndim != 1 or not theta0.size or not np.isfinite(theta0).all():
            raise ConfigError("theta must start as a non-empty vector of finite numbers")
        if pop_size < 1:
            raise ConfigError(f"pop_size={pop_size}: expected at least 1")
        if not 0 < sigma < math.inf:
            raise ConfigError(f"sigma={sigma}: expected more than 0, for example sigma=0.1")
        self._theta0 = theta0.astype(np.float32)
        self._make_tool = make_tool
        self._run_seed = run_seed
        self._first = first_descent(pop_size, sigma, run_seed)
        self._is_asynchronous = asynchronous
        self._restarts = restarts
        self._believes_best = believes_best
        self.max_overlap = _MOST_OPEN if asynchronous else 0
        self._budget, self._tool = budget, make_tool(budget)
        self._begin(budget)
        if restarts != NO_RESTARTS and (asynchronous or not self._tool.is_cma):
            whose = "asynchronous=True" if asynchronous else f"tool={self._tool.name}"
            raise ConfigError(
                f"restarts={restarts} is for CMA by generations, not for {whose}: leave one out"
            )

    @property
    def theta(self) -> NDArray[np.float32]:
        """``(D,)`` float32, a copy."""
        return self._theta.copy()

    def ask(self, generation: int) -> Genomes:
        """Candidates of ``generation``; generations are asked for in their order.

        Raises:
            RunAborted: the tool cannot give any more.
        """
        while self._asked <= generation:
            self._open[self._asked] = self._draw()
            self._asked += 1
        if generation not in self._open:
            raise ValueError(f"generation {generation} has been told")
        values_cd = np.stack([candidate.value for candidate in self._open[generation]])
        return Genomes.of(self._theta, self._float32(values_cd, generation))

    def tell(self, generation: int, fitness_ce: NDArray[np.float64]) -> Mapping[str, float]:
        """Learn from ``(C, E)`` float64, NaN where a rollout failed, in the order of candidates.

        Returns:
            ``update/ratio``, |change of theta| / |theta| with theta after it; of CMA also
            ``search/step_size``, ``search/axis_ratio`` and, with restarts, ``search/restarts``.

        Raises:
            RunAborted: no fitness of several is finite, or CMA did not learn from them.
        """
        candidates = self._open.get(generation)
        if candidates is None:
            raise ValueError(f"generation {generation} is not open")
        if fitness_ce.ndim != 2 or len(fitness_ce) != len(candidates):
            raise ValueError(
                f"fitness of shape {fitness_ce.shape} for {len(candidates)} candidates"
            )
        fitness_c = self._fitness_c(fitness_ce)
        before = self._theta
        self._told.append((generation, self._asked, fitness_c))
        self._learn(generation, fitness_c)
        after = self._theta.astype(np.float64)
        norm = float(np.linalg.norm(after))
        moved = float(np.linalg.norm(after - before))
        return {"update/ratio": moved / norm if norm else 0.0, **self._cma_figures()}

    def state(self) -> dict[str, Any]:
        """Theta; the budget; and every tell: generation, how many had been asked by then, and the
        ``(C,)`` fitness of its candidates, one after the other.
        """
        generations, asked, fitness = zip(*self._told, strict=True) if self._told else ((), (), ())
        return {
            "theta": self._theta.copy(),
            "budget": self._budget,
            "asked": self._asked,
            "told_generation": np.array(generations, dtype=np.int64),
            "told_after_asking": np.array(asked, dtype=np.int64),
            "told_fitness": np.concatenate(fitness) if fitness else np.empty(0),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, to the bit, by asking and telling a new optimiser all of it again.

        Raises:
            RunError: that leads to another theta here.
        """
        self._begin(int(state["budget"]))
        fitness = np.asarray(state["told_fitness"], dtype=np.float64)
        order = zip(state["told_generation"], state["told_after_asking"], strict=True)
        for generation, asked in ((int(g), int(a)) for g, a in order):
            self._ask_up_to(asked)
            fitness_c, fitness = np.split(fitness, [len(self._open[generation])])
            self._told.append((generation, asked, fitness_c))
            self._learn(generation, fitness_c)
        self._ask_up_to(int(state["asked"]))
        if self._theta.tobytes() != np.asarray(state["theta"], dtype=np.float32).tobytes():
            raise RunError(
                "the search comes out otherwise here than where it was saved: resume with the "
                "release and on the kind of processor that it began with, or start a new run with "
                "load_from=<run id>"
            )

    def _begin(self, budget: int) -> None:
        if budget != self._budget:
            self._budget, self._tool = budget, self._make_tool(budget)
        self._randomness = PrivateRandomness(self._first.regime.seed)
        self._descents = [self._first]
        self._optimizer = self._made(self._first)
        self._theta = self._theta0
        self._best = -math.inf
        # What theta was, and its candidates' mean fitness, where an earlier descent ended best.
        self._incumbent: tuple[float, NDArray[np.float32]] | None = None
        self._open: dict[int, list[nevergrad.p.Parameter]] = {}
        self._asked = 0
        self._told: list[tuple[int, int, NDArray[np.float64]]] = []
        self._worst = math.inf

    def _made(self, descent: Descent) -> Optimizer:
        with self._at_work():
            return self._tool.make(descent.regime)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Nevergrad draws in private, and its warnings are for those who call it themselves."""
        with self._randomness.held(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def _ask_up_to(self, count: int) -> None:
        if count > self._asked:
            self.ask(count - 1)

    def _draw(self) -> list[nevergrad.p.Parameter]:
        count = 1 if self._is_asynchronous else self._descents[-1].regime.pop_size
        try:
            with self._at_work():
                return [self._optimizer.ask() for _ in range(count)]
        except Exception as error:  # five hundred optimisers raise whatever they like
            raise RunAborted(
                f"tool={self._tool.name} gave no candidates for generation {self._asked} "
                f"({_one_line(error)}): use another tool; load_from=<run id> goes on from here"
            ) from error

    def _float32(self, values: NDArray[np.float64], generation: int) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float32)
        if not np.isfinite(rounded).all():
            raise RunAborted(
                f"tool={self._tool.name} left the finite numbers in generation {generation}: use "
                "another sigma, or set bounds"
            )
        return rounded

    def _fitness_c(self, fitness_ce: NDArray[np.float64]) -> NDArray[np.float64]:
        """A candidate that failed is a hair below the worst of the others, so as never to be the
        best where all of them are alike. One that is a generation of its own has no others: where
        it failed, it counts as the worst so far, and not at all where it is the first; but a tool
        that asks for one at a time may wait for ever for what became of that one.
        """
        failed_c = ~np.isfinite(fitness_ce).any(axis=1)
        if len(fitness_ce) == 1 and failed_c.all():
            if self._first.regime.pop_size == 1 and math.isinf(self._worst):
                raise RunAborted(
                    f"tool={self._tool.name} asks for one candidate at a time, and its first one "
                    "failed: begin with another seed, or elsewhere by load_from"
                )
            return np.array([self._worst])
        fitness_c = candidate_fitness(fitness_ce)
        return np.where(failed_c, np.nextafter(fitness_c, -np.inf), fitness_c)

    def _learn(self, generation: int, fitness_c: NDArray[np.float64]) -> None:
        candidates = self._open.pop(generation)
        finite = np.isfinite(fitness_c)
        try:
            with self._at_work():
                if self._is_asynchronous and self._tool.is_cma:
                    self._open_iteration()
                for candidate, fitness, is_finite in zip(
                    candidates, fitness_c, finite, strict=True
                ):
                    if is_finite:
                        self._optimizer.tell(candidate, -float(fitness))
                theta = self._recommended()
        except Exception as error:
            raise RunAborted(
                f"tool={self._tool.name} did not take the fitness of generation {generation} "
                f"({_one_line(error)}): use another tool; load_from=<run id> goes on from here"
            ) from error
        if finite.any():
            self._worst = min(self._worst, float(fitness_c[finite].min()))
        descent = self._descents[-1]
        told = descent.candidates + int(np.count_nonzero(finite))
        self._descents[-1] = descent._replace(candidates=told)
        if self._tool.is_cma:
            self._check_iteration(generation)
        if self._believes_best:
            fitness, theta = self._best_of(candidates, fitness_c)
        else:
            fitness = float(fitness_c.mean())
        self._settle_theta(self._float32(theta, generation), fitness)

    def _open_iteration(self) -> None:
        """Have pycma learn from the next candidate though nothing was asked since it last learnt,
        as at the end of an asynchronous run: it takes one population for each that it gave.
        """
        descent = self._descents[-1]
        populations, others = divmod(descent.candidates + 1, descent.regime.pop_size)
        if not others and self._optimizer.es.countiter < populations:
            self._optimizer.es.ask()

    def _recommended(self) -> NDArray[np.float64]:
        optimizer = self._optimizer
        if self._tool.is_cma:
            origin = optimizer.parametrization
            mean = optimizer.es.result.xfavorite
            found = origin.spawn_child().set_standardized_data(mean, reference=origin)
        else:
            found = optimizer.provide_recommendation()
        return np.asarray(found.value, dtype=np.float64)

    def _best_of(
        self, candidates: list[nevergrad.p.Parameter], fitness_c: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """The best candidate so far, one of these or theta as it is, and its fitness."""
        finite_c = np.where(np.isfinite(fitness_c), fitness_c, -math.inf)
        best = int(finite_c.argmax())
        if finite_c[best] <= self._best:
            return self._best, self._theta.astype(np.float64)
        self._best = float(finite_c[best])
        return self._best, np.asarray(candidates[best].value, dtype=np.float64)

    def _check_iteration(self, generation: int) -> None:
        """Nevergrad drops a generation that pycma refuses, without a word."""
        told = self._descents[-1].candidates // self._descents[-1].regime.pop_size
        iterations = self._optimizer.es.countiter
        if iterations != told:
            raise RunAborted(
                f"CMA has learnt from {iterations} generations of {told}, not from generation "
                f"{generation}: use tool_options.diagonal=True, or another tool"
            )

    def _settle_theta(self, theta: NDArray[np.float32], fitness: float) -> None:
        """Have theta, and begin anew where CMA says that it is at its end."""
        incumbent = self._incumbent
        self._theta = theta if incumbent is None or fitness >= incumbent[0] else incumbent[1]
        descent = self._descents[-1]
        is_over = descent.candidates >= descent.most_candidates
        if self._restarts == NO_RESTARTS or not (is_over or has_stagnated(self._optimizer)):
            return
        if incumbent is None or fitness >= incumbent[0]:
            self._incumbent = fitness, theta
        self._descents.append(next_descent(self._restarts, self._descents, self._run_seed))
        self._optimizer = self._made(self._descents[-1])

    def _cma_figures(self) -> dict[str, float]:
        if not self._tool.is_cma:
            return {}
        es = self._optimizer.es
        figures = {
            "search/step_size": float(es.sigma) * self._descents[-1].regime.sigma,
            "search/axis_ratio": float(es.D.max() / es.D.min()),
        }
        if self._restarts != NO_RESTARTS:
            figures["search/restarts"] = float(len(self._descents) - 1)
        return figures


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
