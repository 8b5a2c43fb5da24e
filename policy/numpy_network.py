"""A network compiled to numpy: a flat list of calls on buffers made once.

Every call is ``function(source, target)``; running the network is running the list. No object is
made on the way, and a 64 by 64 network costs about 2 us. Each layer's input buffer ends in a one
that meets the bias column of its weights, so that a layer is one matrix product and one activation.

All buffers start on 64-byte boundaries: BLAS picks its path by alignment, and the last bit of a
product may depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.networks import (
    DISCRETE_STEPS,
    FIXED_DEVIATION,
    LEAKY_SLOPE,
    Layer,
    Network,
)

Vector = NDArray[np.float32]
Call = tuple[Callable[[Any, Any], Any], Any, Any]

_ALIGNMENT = 64


def aligned_zeros(*shape: int) -> Vector:
    """Float32 zeros of ``shape``, starting on a 64-byte boundary."""
    num_bytes = 4 * int(np.prod(shape))
    memory = np.zeros(num_bytes + _ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes].view(np.float32).reshape(shape)


class NumpyNetwork:
    """Buffers and calls of a `Network`.

    Attributes:
        inputs: ``(size_in,)`` float32, to be written before each run.
        noise: ``(M,)`` float32 standard normal, to be written before each run if M > 0.
        outputs: ``(size_out,)`` float32, overwritten by each run.
        calls: what a run does, in order.
    """

    def __init__(self, network: Network) -> None:
        self.noise = aligned_zeros(network.num_noise)
        self.calls: list[Call] = []
        self._blocks: list[Vector] = []
        self._states: list[Vector] = []
        self._after_load: list[Callable[[], Any]] = []
        self.outputs = aligned_zeros(network.layers[-1].size_out)
        target = self.outputs
        first_noise = network.num_noise
        # Last layer first: each writes its result straight into the next one's input buffer.
        for layer in reversed(network.layers):
            first_noise -= layer.num_noise
            noise = self.noise[first_noise : first_noise + layer.num_noise]
            blocks = [aligned_zeros(*block.shape) for block in layer.blocks]
            calls, target = self._compile(layer, blocks, noise, target)
            self.calls[:0] = calls
            self._blocks[:0] = blocks
        self.inputs = target

    def load(self, theta: NDArray[np.float32]) -> None:
        """Copy ``(D,)`` float32 into the weights."""
        start = 0
        for block in self._blocks:
            stop = start + block.size
            block[...] = theta[start:stop].reshape(block.shape)
            start = stop
        for refresh in self._after_load:
            refresh()

    def reset(self) -> None:
        """Forget the past: every hidden state to zero."""
        for state in self._states:
            state.fill(0.0)

    def run(self) -> None:
        """``outputs`` from ``inputs``, ``noise`` and the hidden states, which move on."""
        for function, source, target in self.calls:
            function(source, target)

    def _compile(
        self, layer: Layer, blocks: list[Vector], noise: Vector, target: Vector
    ) -> tuple[list[Call], Vector]:
        """Calls of one layer that end in ``target``, and the view its input must be put into."""
        num_recurrent = 0 if layer.kind == "dense" else layer.size_out
        buffer = aligned_zeros(layer.size_in + num_recurrent + 1)
        buffer[-1] = 1.0
        inputs = buffer[: layer.size_in]
        hidden = buffer[layer.size_in : -1]
        if layer.kind in ("dense", "elman"):
            calls: list[Call] = [(blocks[0].dot, buffer, target)]
            calls += self._activation(layer, blocks, noise, target)
        elif layer.kind == "lstm":
            cell = aligned_zeros(layer.size_out)
            self._states.append(cell)
            calls = [(_lstm_step(blocks[0], cell), buffer, target)]
        else:
            calls = [(_gru_step(blocks, buffer, layer.size_in), buffer, target)]
        if num_recurrent:
            self._states.append(hidden)
            calls.append((_copy_to, target, hidden))
        return calls, inputs

    def _activation(
        self, layer: Layer, blocks: list[Vector], noise: Vector, target: Vector
    ) -> list[Call]:
        if layer.activation == "none":
            return []
        if layer.activation == "tanh":
            return [(np.tanh, target, target)]
        if layer.activation == "discrete":
            return [(np.tanh, target, target), (_round_to_steps, target, target)]
        if layer.activation == "relu":
            return [(_leaky_relu(layer.size_out), target, target)]
        deviation = aligned_zeros(layer.size_out)
        if layer.activation == "gaussian":
            log_deviation = blocks[-1]
            self._after_load.append(partial(np.exp, log_deviation, deviation))
        else:
            deviation.fill(FIXED_DEVIATION)
        return [(_add_scaled(deviation), noise, target)]


def _copy_to(source: Vector, target: Vector) -> None:
    target[:] = source


def _round_to_steps(source: Vector, target: Vector) -> None:
    np.multiply(source, DISCRETE_STEPS, target)
    np.rint(target, target)
    np.divide(target, DISCRETE_STEPS, target)


def _leaky_relu(size: int) -> Callable[[Vector, Vector], None]:
    scaled = aligned_zeros(size)
    multiply, maximum, slope = np.multiply, np.maximum, np.float32(LEAKY_SLOPE)

    def call(source: Vector, target: Vector) -> None:
        multiply(source, slope, scaled)
        maximum(source, scaled, target)

    return call


def _add_scaled(deviation: Vector) -> Callable[[Vector, Vector], None]:
    scaled = aligned_zeros(len(deviation))

    def call(noise: Vector, target: Vector) -> None:
        np.multiply(noise, deviation, scaled)
        np.add(target, scaled, target)

    return call


def _sigmoid(values: Vector) -> None:
    # 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2, which cannot overflow
    np.multiply(values, 0.5, values)
    np.tanh(values, values)
    np.multiply(values, 0.5, values)
    np.add(values, 0.5, values)


def _lstm_step(weights: Vector, cell: Vector) -> Callable[[Vector, Vector], None]:
    """Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000), as torch.nn.LSTM."""
    units = len(cell)
    gates = aligned_zeros(4 * units)
    new = aligned_zeros(units)
    sums_new = gates[2 * units : 3 * units]
    gate_in, gate_forget, _, gate_out = gates.reshape(4, units)

    def call(buffer: Vector, target: Vector) -> None:
        weights.dot(buffer, gates)
        np.tanh(sums_new, new)
        _sigmoid(gates)
        np.multiply(cell, gate_forget, cell)
        np.multiply(new, gate_in, new)
        np.add(cell, new, cell)
        np.tanh(cell, target)
        np.multiply(target, gate_out, target)

    return call


def _gru_step(
    blocks: list[Vector], buffer: Vector, size_in: int
) -> Callable[[Vector, Vector], None]:
    """Cho et al. 2014, eq. 5 to 8, with the reset gate after the product, as torch.nn.GRU."""
    gate_weights, input_weights, hidden_weights = blocks
    units = len(input_weights)
    gates = aligned_zeros(2 * units)
    gate_reset, gate_update = gates.reshape(2, units)
    from_hidden = aligned_zeros(units)
    new = aligned_zeros(units)
    inputs, hidden = buffer[:size_in], buffer[size_in:-1]
    hidden_and_one = buffer[size_in:]
    inputs_and_one = aligned_zeros(size_in + 1)
    inputs_and_one[size_in] = 1.0
    inputs_copy = inputs_and_one[:size_in]

    def call(source: Vector, target: Vector) -> None:
        gate_weights.dot(source, gates)
        _sigmoid(gates)
        inputs_copy[:] = inputs
        input_weights.dot(inputs_and_one, new)
        hidden_weights.dot(hidden_and_one, from_hidden)
        np.multiply(from_hidden, gate_reset, from_hidden)
        np.add(new, from_hidden, new)
        np.tanh(new, new)
        np.subtract(hidden, new, target)  # h' = n + z (h - n)
        np.multiply(target, gate_update, target)
        np.add(target, new, target)

    return call
