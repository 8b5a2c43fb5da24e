"""How a model is integrated: which of Simbody's integrators, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass

from errors import ConfigError, did_you_mean

INTEGRATORS = (
    "CPodes",
    "ExplicitEuler",
    "RungeKutta2",
    "RungeKutta3",
    "RungeKuttaFeldberg",
    "RungeKuttaMerson",
    "SemiExplicitEuler2",
    "Verlet",
)
"""Simbody's integrators by the names that `opensim.Manager` gives them."""


@dataclass(frozen=True)
class Integration:
    """An integrator and the relative error that it may make in each of its own steps.

    Raises:
        ConfigError: ``integrator`` is not one of `INTEGRATORS`, or ``accuracy`` not in (0, 1).
    """

    integrator: str
    accuracy: float

    def __post_init__(self) -> None:
        if self.integrator not in INTEGRATORS:
            raise ConfigError(
                f"unknown integrator {self.integrator!r}"
                f"{did_you_mean(str(self.integrator), INTEGRATORS)}; "
                f"known: {', '.join(INTEGRATORS)}"
            )
        is_number = isinstance(self.accuracy, int | float) and not isinstance(self.accuracy, bool)
        if not is_number or not 0 < self.accuracy < 1:
            raise ConfigError(
                f"accuracy={self.accuracy!r}: expected a number between 0 and 1, such as 5e-5"
            )


PRESETS = {
    "exact": Integration("RungeKuttaMerson", 5e-5),
    "fast": Integration("SemiExplicitEuler2", 1e-3),
}
"""``exact`` is the originals' own, in which every score is stated; ``fast`` takes less than half
the time and flatters a gait by a few percent: for searching.
"""


def choose_integration(
    preset: str = "exact", integrator: str | None = None, accuracy: float | None = None
) -> Integration:
    """What a preset says, but for what is given beside it.

    Raises:
        ConfigError: an unknown preset, or see `Integration`.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f"unknown preset {preset!r}{did_you_mean(str(preset), PRESETS)}; "
            f"known: {', '.join(PRESETS)}"
        )
    chosen = PRESETS[preset]
    return Integration(
        chosen.integrator if integrator is None else integrator,
        chosen.accuracy if accuracy is None else accuracy,
    )
