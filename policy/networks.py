"""Architectures as data: which layers there are, and where in theta each one's numbers lie.

A network is a list of layers; a layer is a list of blocks of theta. From the same data both the
numpy actor and the torch module are built, so that they cannot disagree about a parameter.

theta holds the blocks one after the other, each row-major. A block of weights has a row for each
unit: the weights of its inputs, then of its recurrent inputs, then its bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, prod

from errors import ConfigError, did_you_mean
from policy.spec import PolicySpec

DENSE_NETWORKS = ("linear", "feed_forward", "symmetric")
RECURRENT_NETWORKS = ("elman", "gru", "lstm")
ACTIVATIONS = ("none", "tanh", "discrete", "relu", "gaussian", "gaussian_fixed")
STOCHASTIC_ACTIVATIONS = ("gaussian", "gaussian_fixed")
ACTIVATIONS_WITHIN_ONE = ("tanh", "discrete")

DISCRETE_STEPS = 5
"""``discrete`` is round(5 tanh x) / 5: 11 levels from -1 to 1."""
LEAKY_SLOPE = 0.01
"""``relu`` is leaky: slope of the negative half."""
FIXED_DEVIATION = 0.01
"""Standard deviation of the noise that ``gaussian_fixed`` adds."""
INITIAL_DEVIATION = 0.5
"""Standard deviation of the noise that ``gaussian`` adds before anything is learnt."""

OLD_NETWORK_NAMES = {
    "policy.ff_network.FFNetwork": "feed_forward",
    "policy.elman_network.ElmanNetwork": "elman",
    "policy.lstm_network.LSTMNetwork": "lstm",
}


@dataclass(frozen=True)
class Block:
    """A ``shape``d piece of theta, drawn at first uniformly from ``centre`` +- ``spread``."""

    name: str
    shape: tuple[int, ...]
    centre: float
    spread: float

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: ``dense``, ``elman``, ``gru`` or ``lstm``.
        size_in: inputs, without the layer's own recurrent ones.
        size_out: units.
        activation: one of `ACTIVATIONS`; ``gru`` and ``lstm`` have theirs built in: ``none``.
    """

    kind: str
    size_in: int
    size_out: int
    activation: str

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Gates in torch's order: reset, update (gru); input, forget, cell, output (lstm).

        Spread as torch draws it: 1 / sqrt(inputs) for dense layers, 1 / sqrt(units) for recurrent
        ones.
        """
        inputs, units = self.size_in, self.size_out
        if self.kind == "dense":
            blocks = [Block("weights", (units, inputs + 1), 0.0, inputs**-0.5)]
        elif self.kind == "elman":
            blocks = [Block("weights", (units, inputs + units + 1), 0.0, units**-0.5)]
        elif self.kind == "gru":
            blocks = [
                Block("gates", (2 * units, inputs + units + 1), 0.0, units**-0.5),
                Block("new_input", (units, inputs + 1), 0.0, units**-0.5),
                Block("new_hidden", (units, units + 1), 0.0, units**-0.5),
            ]
        else:
            blocks = [Block("gates", (4 * units, inputs + units + 1), 0.0, units**-0.5)]
        if self.activation == "gaussian":
            blocks.append(Block("log_deviation", (units,), log(INITIAL_DEVIATION), 0.0))
        return tuple(blocks)

    @property
    def num_noise(self) -> int:
        """Standard normal numbers that one call needs."""
        return self.size_out if self.activation in STOCHASTIC_ACTIVATIONS else 0


@dataclass(frozen=True)
class Network:
    """Layers in order, the output layer last."""

    layers: tuple[Layer, ...]

    @property
    def num_parameters(self) -> int:
        """D."""
        return sum(block.size for layer in self.layers for block in layer.blocks)

    @property
    def num_noise(self) -> int:
        """M: standard normal numbers that one call needs, in the order of the layers."""
        return sum(layer.num_noise for layer in self.layers)

    @property
    def outputs_within_one(self) -> bool:
        return self.layers[-1].activation in ACTIVATIONS_WITHIN_ONE


def canonical_network(name: str, notice: Callable[[str], None] | None = None) -> str:
    """``name``, or today's name of a network that an earlier system had under a dotted one."""
    today = OLD_NETWORK_NAMES.get(name)
    if today is None:
        return name
    if notice:
        notice(f"network {name} is now called {today}")
    return today


def is_built_in(name: str) -> bool:
    """Whether ``name`` is one of the networks made of layers."""
    return canonical_network(name) in DENSE_NETWORKS + RECURRENT_NETWORKS


def build_network(spec: PolicySpec, size_in: int, size_out: int) -> Network:
    """The layers that ``spec`` asks for, between ``size_in`` inputs and ``size_out`` outputs.

    ``linear`` ignores ``hidden_sizes``; ``gru`` and ``lstm`` ignore ``hidden_activation``;
    ``symmetric`` has outputs for one of two sides, half of ``size_out``.

    Raises `ConfigError` for an unknown network or activation and for sizes below 1.
    """
    kind = canonical_network(spec.network)
    if kind == "symmetric":
        size_out //= 2
    known = DENSE_NETWORKS + RECURRENT_NETWORKS
    if kind not in known:
        raise ConfigError(
            f"unknown network {spec.network!r}: expected {', '.join(known)}, reflex, random, or "
            f"module.Class with include=FOLDER{did_you_mean(spec.network, known)}"
        )
    hidden_sizes = () if kind == "linear" else tuple(spec.hidden_sizes)
    if any(size < 1 for size in hidden_sizes):
        raise ConfigError(f"hidden_sizes={list(hidden_sizes)}: each must be at least 1")
    if kind in RECURRENT_NETWORKS and not hidden_sizes:
        raise ConfigError(f"network={kind} needs hidden_sizes, for example hidden_sizes=[16]")
    hidden_activation = _checked_activation("hidden_activation", spec.hidden_activation)
    output_activation = _checked_activation("output_activation", spec.output_activation)
    layer_kind = kind if kind in RECURRENT_NETWORKS else "dense"
    sizes = (size_in, *hidden_sizes)
    activation = "none" if kind in ("gru", "lstm") else hidden_activation
    hidden = [
        Layer(layer_kind, before, size, activation)
        for before, size in zip(sizes, hidden_sizes, strict=False)
    ]
    return Network((*hidden, Layer("dense", sizes[-1], size_out, output_activation)))


def _checked_activation(option: str, name: str) -> str:
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"{option}={name!r}: expected {', '.join(ACTIVATIONS)}{did_you_mean(name, ACTIVATIONS)}"
        )
    return name
