"""OpenAI's evolution strategy (Salimans, Ho, Chen, Sidor and Sutskever 2017, arXiv:1703.03864)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from errors import ConfigError, RunAborted
from es.gradient import estimate_gradient, estimate_log_sigma_gradient
from es.optimizers import OptimizerSettings, ThetaOptimizer
from es.shaping import shaping_by_name
from es.step_sizes import adapted
from search.candidate_fitness import candidate_fitness
from search.messages import Perturbations
from search.noise import NoiseTable, required_length

_STREAM = int.from_bytes(b"pairs", "big")


class OpenAIES:
    """Mirrored pairs around theta, shaped fitness, and an optimiser on the estimated gradient.

    With ``sigma_lr`` each parameter has a sigma of its own, which is learnt beside theta, as PGPE
    and SNES do (Sehnke et al. 2010, Schaul et al. 2011; see `es.step_sizes`), and by which its part
    of the gradient is scaled: what is searched widely also moves far. (By sgd and clipup; Adam and
    its kin divide by what each parameter's gradients were like, and largely undo that.)

    Fulfils `search.protocol.Strategy`. A generation's noise indices follow from the run's seed
    and its number, so nothing of an open generation is remembered: any number may be open. The
    fitness of one that was asked k tells ago is that of an older theta, and moves today's, and
    today's sigmas.

    Args:
        theta0: ``(D,)`` float32, copied.
        noise: the table that pairs are drawn from; stays the caller's to close.
        run_seed: 0 to 2**53, seeds the noise indices.
        pop_size: C, two for each pair.
        sigma: standard deviation of the perturbations; with ``sigma_lr`` of the first ones.
        sigma_lr: how fast each parameter's sigma is learnt; 0: all stay as they are.
        optimizer: a name in `es.optimizers.OPTIMIZERS`.
        lr, momentum, adam_beta1, adam_beta2, adam_epsilon: the optimiser's; it uses what it knows.
        l2coeff: weight decay towards zero.
        shaping: a name in `es.shaping.SHAPINGS`.

    Raises:
        ConfigError: a setting out of its range.
    """

    max_overlap = 1000

    def __init__(
        self,
        theta0: NDArray[np.float32],
        noise: NoiseTable,
        *,
        run_seed: int,
        pop_size: int,
        sigma: float,
        sigma_lr: float = 0.0,
        optimizer: str = "adam",
        lr: float,
        l2coeff: float = 0.0,
        shaping: str = "centered_ranks",
        adam_beta1: float = 0.9,
        adam_beta2: float = 0.999,
        adam_epsilon: float = 1e-8,
        momentum: float = 0.9,
    ) -> None:
        _check_pop_size(pop_size)
        with np.errstate(over="ignore"):
            is_usable = 0 < np.float32(sigma) < math.inf  # as candidates are made with it
        if not is_usable:
            raise ConfigError(
                f"sigma={sigma}: expected more than 0, as a float32, for example sigma=0.1"
            )
        if not 0 <= sigma_lr < math.inf:
            raise ConfigError(f"sigma_lr={sigma_lr}: expected 0 or more, for example sigma_lr=0.3")
        if theta0.ndim != 1 or not theta0.size or not np.isfinite(theta0).all():
            raise ConfigError("theta must start as a non-empty vector of finite numbers")
        _check_length(noise, theta0.size)
        self._noise = noise
        self._run_seed = run_seed
        self._num_pairs = pop_size // 2
        self._sigma = float(sigma)
        self._sigma_lr = float(sigma_lr)
        self._sigma_d = np.full(theta0.size if sigma_lr else 1, sigma, dtype=np.float32)
        self._shape = shaping_by_name(shaping)
        settings = OptimizerSettings(lr, l2coeff, momentum, adam_beta1, adam_beta2, adam_epsilon)
        self._optimizer = ThetaOptimizer(theta0, optimizer, settings)

    @property
    def theta(self) -> NDArray[np.float32]:
        """``(D,)`` float32, a copy."""
        return self._optimizer.theta.copy()

    def ask(self, generation: int) -> Perturbations:
        """N mirrored pairs around theta (algorithm 1, line 3): epsilon by index, uniform."""
        return Perturbations.of(
            self._optimizer.theta, self._sigma_d, self._noise_indices_n(generation)
        )

    def tell(self, generation: int, fitness_ce: NDArray[np.float64]) -> Mapping[str, float]:
        """Move theta (algorithm 1, line 5) by ``(C, E)`` float64, NaN where a rollout failed.

        Returns:
            ``update/grad_norm``, |g|; ``update/ratio``, |change of theta| / |theta| and
            ``theta/norm``, |theta|, both with theta after the step; where sigmas are learnt
            ``search/step_size``, their geometric mean, and ``search/axis_ratio``, the largest over
            the smallest.

        Raises:
            RunAborted: no fitness is finite, or theta or a sigma left the finite numbers.
        """
        if fitness_ce.ndim != 2 or len(fitness_ce) != 2 * self._num_pairs:
            raise ValueError(f"fitness of shape {fitness_ce.shape} for {self._num_pairs} pairs")
        before = self.theta
        # Huge raw fitness may overflow here; what comes of it is checked below, in plain words.
        with np.errstate(over="ignore", invalid="ignore"):
            shaped_c = self._shape(candidate_fitness(fitness_ce))
            pairs = self._noise.values, self._noise_indices_n(generation), shaped_c
            gradient = estimate_gradient(*pairs, self._sigma, len(before))
            if self._sigma_lr:
                gradient *= self._sigma_d / np.float32(self._sigma)
                change = estimate_log_sigma_gradient(*pairs, len(before))
                self._sigma_d = adapted(self._sigma_d, change, self._sigma_lr, self._sigma)
        self._optimizer.ascend(gradient)
        theta = self._optimizer.theta
        norm = float(np.linalg.norm(theta))
        if not np.isfinite(theta).all():
            raise RunAborted(
                f"theta left the finite numbers in generation {generation}: use a smaller lr, or "
                "shaping=centered_ranks"
            )
        if not np.isfinite(self._sigma_d).all():
            raise RunAborted(
                f"a sigma left the finite numbers in generation {generation}: "
                "use a smaller sigma_lr"
            )
        moved = float(np.linalg.norm(theta - before))
        return {
            "update/grad_norm": float(np.linalg.norm(gradient)),
            "update/ratio": moved / norm if norm else 0.0,
            "theta/norm": norm,
            **self._step_sizes(),
        }

    def state(self) -> dict[str, Any]:
        """Theta, the optimiser's name, moments and steps, and sigmas where they are learnt."""
        sigmas = {"sigma": self._sigma_d.copy()} if self._sigma_lr else {}
        return self._optimizer.state() | sigmas

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, to the bit.

        Raises:
            ConfigError: it does not fit these settings.
        """
        state = dict(state)
        sigma_d = state.pop("sigma", None)
        if (sigma_d is None) is (self._sigma_lr > 0):
            made = "one sigma for all" if sigma_d is None else "a sigma for each parameter"
            raise ConfigError(
                f"sigma_lr={self._sigma_lr:g}, but the run was made with {made}: "
                "resume it as it was, or start anew with load_from"
            )
        self._optimizer.restore(state)
        if sigma_d is not None:
            self._sigma_d = np.array(sigma_d, dtype=np.float32).reshape(self._sigma_d.shape)

    def _step_sizes(self) -> dict[str, float]:
        if not self._sigma_lr:
            return {}
        log_sigma_d = np.log(self._sigma_d, dtype=np.float64)
        return {
            "search/step_size": float(np.exp(log_sigma_d.mean())),
            "search/axis_ratio": float(np.exp(log_sigma_d.max() - log_sigma_d.min())),
        }

    def _noise_indices_n(self, generation: int) -> NDArray[np.int64]:
        """``(N,)`` int64, from Philox with the generation in its counter: no state to lose."""
        key = np.array([self._run_seed, _STREAM], dtype=np.uint64)
        uniform = Generator(Philox(key=key, counter=[0, 0, 0, generation]))
        last = len(self._noise.values) - len(self._optimizer.theta)
        return uniform.integers(0, last, self._num_pairs, dtype=np.int64, endpoint=True)


def _check_pop_size(pop_size: int) -> None:
    if pop_size < 2 or pop_size % 2:
        raise ConfigError(
            f"pop_size={pop_size}: expected an even number of at least 2, for mirrored pairs; "
            f"try pop_size={max(2, pop_size + pop_size % 2)}"
        )


def _check_length(noise: NoiseTable, num_parameters: int) -> None:
    needed = required_length(num_parameters)
    if noise.spec.length < needed:
        raise ConfigError(
            f"noise_table_size={noise.spec.length}: {num_parameters} parameters need at least "
            f"{needed}; set noise_table_size={needed}"
        )
