"""The same network as a torch module: for export, and to hold the numpy actor to.

Built from torch's own layers, so that the two share nothing but the data in `policy.networks`.
Rollouts never call it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policy.networks import DISCRETE_STEPS, FIXED_DEVIATION, LEAKY_SLOPE, Layer, Network


class TorchNetwork(nn.Module):
    """A `Network` with torch's layers.

    ``forward`` takes one observation, normalised already, and the standard normal noise of all
    stochastic layers in order; recurrent layers move on with every call until `reset`.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_TorchLayer(layer) for layer in network.layers)
        self.num_noise = network.num_noise

    def forward(self, inputs: Tensor, noise: Tensor | None = None) -> Tensor:
        """``(size_out,)`` float32 from ``(size_in,)`` and ``(M,)`` float32; M may be 0."""
        start = 0
        for module in self.layers:
            assert isinstance(module, _TorchLayer)
            stop = start + module.layer.num_noise
            inputs = module(inputs, None if noise is None else noise[start:stop])
            start = stop
        return inputs

    def reset(self) -> None:
        """Forget the past."""
        for module in self.layers:
            assert isinstance(module, _TorchLayer)
            module.reset()


class _TorchLayer(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.cell: nn.Module
        if layer.kind == "dense":
            self.cell = nn.Linear(layer.size_in, layer.size_out)
        elif layer.kind == "elman":
            self.cell = nn.Linear(layer.size_in + layer.size_out, layer.size_out)
        elif layer.kind == "gru":
            self.cell = nn.GRUCell(layer.size_in, layer.size_out)
        else:
            self.cell = nn.LSTMCell(layer.size_in, layer.size_out)
        if layer.activation == "gaussian":
            self.log_deviation = nn.Parameter(torch.zeros(layer.size_out))
        self.reset()

    def reset(self) -> None:
        self.hidden = torch.zeros(1, self.layer.size_out)
        self.memory = torch.zeros(1, self.layer.size_out)

    def forward(self, inputs: Tensor, noise: Tensor | None) -> Tensor:
        kind = self.layer.kind
        if kind == "dense":
            return self._activate(self.cell(inputs), noise)
        if kind == "elman":
            both = torch.cat([inputs, self.hidden[0]])
            self.hidden = self._activate(self.cell(both), noise)[None]
        elif kind == "gru":
            self.hidden = self.cell(inputs[None], self.hidden)
        else:
            self.hidden, self.memory = self.cell(inputs[None], (self.hidden, self.memory))
        return self.hidden[0]

    def _activate(self, sums: Tensor, noise: Tensor | None) -> Tensor:
        activation = self.layer.activation
        if activation == "tanh":
            return torch.tanh(sums)
        if activation == "discrete":
            return torch.round(DISCRETE_STEPS * torch.tanh(sums)) / DISCRETE_STEPS
        if activation == "relu":
            return nn.functional.leaky_relu(sums, LEAKY_SLOPE)
        if activation == "none":
            return sums
        assert noise is not None, "a stochastic layer needs noise"
        if activation == "gaussian":
            return sums + torch.exp(self.log_deviation) * noise
        return sums + FIXED_DEVIATION * noise


def load_theta(module: TorchNetwork, theta: Tensor) -> None:
    """Copy ``(D,)`` float32 into the module's parameters. Biases torch has twice go to the first,
    but for the GRU's second one of the new state, which is its own.
    """
    start = 0
    with torch.no_grad():
        for child in module.layers:
            assert isinstance(child, _TorchLayer)
            blocks = {}
            for block in child.layer.blocks:
                blocks[block.name] = theta[start : start + block.size].reshape(block.shape)
                start += block.size
            _load_layer(child, blocks)


def _load_layer(module: _TorchLayer, blocks: dict[str, Tensor]) -> None:
    size_in, units = module.layer.size_in, module.layer.size_out
    cell = module.cell
    if isinstance(cell, nn.Linear):
        cell.weight.copy_(blocks["weights"][:, :-1])
        cell.bias.copy_(blocks["weights"][:, -1])
    elif isinstance(cell, nn.LSTMCell | nn.GRUCell):
        gates = blocks["gates"]
        rows = len(gates)
        cell.bias_hh.zero_()
        cell.weight_ih[:rows].copy_(gates[:, :size_in])
        cell.weight_hh[:rows].copy_(gates[:, size_in:-1])
        cell.bias_ih[:rows].copy_(gates[:, -1])
        if isinstance(cell, nn.GRUCell):
            cell.weight_ih[2 * units :].copy_(blocks["new_input"][:, :-1])
            cell.bias_ih[2 * units :].copy_(blocks["new_input"][:, -1])
            cell.weight_hh[2 * units :].copy_(blocks["new_hidden"][:, :-1])
            cell.bias_hh[2 * units :].copy_(blocks["new_hidden"][:, -1])
    if "log_deviation" in blocks:
        module.log_deviation.copy_(blocks["log_deviation"])
