"""One policy for both: EvoTorch's words for our networks, and parameters in either's order.

Ours holds a layer's biases as the last column of its weights; torch has them after the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from policy.spec import PolicySpec

Vector = NDArray[np.float32]


def network_words(spec: PolicySpec, *, biases: bool = True) -> str:
    """A network of dense layers as ``evotorch.neuroevolution.net.str_to_net`` reads it.

    Raises:
        ValueError: it has activations other than tanh, or none at its end.
    """
    if spec.hidden_activation != "tanh" or spec.output_activation not in ("tanh", "none"):
        raise ValueError(f"no words for {spec}")
    sizes = ["obs_length", *map(str, _hidden(spec)), "act_length"]
    layers = [
        f"Linear({size_in}, {size_out}, {biases})"
        for size_in, size_out in itertools.pairwise(sizes)
    ]
    words = " >> Tanh() >> ".join(layers)
    return words + " >> Tanh()" if spec.output_activation == "tanh" else words


def to_evotorch(spec: PolicySpec, theta: Vector, size_in: int, size_out: int) -> Vector:
    """``(D,)`` float32 in torch's order, of our ``(D,)``."""
    parts = []
    for rows, columns in _shapes([size_in, *_hidden(spec), size_out]):
        layer, theta = np.split(theta, [rows * (columns + 1)])
        weights = layer.reshape(rows, columns + 1)
        parts += [weights[:, :-1].ravel(), weights[:, -1]]
    return np.concatenate(parts)


def from_evotorch(spec: PolicySpec, parameters: Vector, size_in: int, size_out: int) -> Vector:
    """Our ``(D,)`` float32, of all parameters of a torch module, whose layers may lack biases.

    Raises:
        ValueError: another number of parameters than such a network has.
    """
    shapes = list(_shapes([size_in, *_hidden(spec), size_out]))
    num_weights = sum(rows * columns for rows, columns in shapes)
    num_biases = sum(rows for rows, _ in shapes)
    if len(parameters) not in (num_weights, num_weights + num_biases):
        raise ValueError(f"{len(parameters)} parameters do not fit {spec}")
    has_biases = len(parameters) > num_weights
    parts = []
    for rows, columns in shapes:
        weights, parameters = np.split(parameters, [rows * columns])
        biases, parameters = np.split(parameters, [rows if has_biases else 0])
        column = biases if has_biases else np.zeros(rows, dtype=np.float32)
        parts.append(np.column_stack([weights.reshape(rows, columns), column]).ravel())
    return np.concatenate(parts).astype(np.float32)


def _hidden(spec: PolicySpec) -> Sequence[int]:
    return () if spec.network == "linear" else spec.hidden_sizes


def _shapes(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rows and columns of each layer's weights."""
    return zip(sizes[1:], sizes[:-1], strict=True)
