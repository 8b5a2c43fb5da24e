"""Which policy, as data that travels."""

from __future__ import annotations

import msgspec

OptionValue = str | int | float | bool | None


class PolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy's architecture.

    Attributes:
        network: ``linear``, ``feed_forward``, ``symmetric`` (one feed-forward network, mirrored for
            the left side), ``elman``, ``gru``, ``lstm``, ``reflex``, ``random`` (its actions are
            drawn), or ``module.Class`` for a user's own ``torch.nn.Module``.
        hidden_sizes: units of each hidden layer (recurrent kinds: of each recurrent layer).
        hidden_activation, output_activation: ``none``, ``tanh``, ``discrete``, ``relu``,
            ``gaussian`` or ``gaussian_fixed``.
        normalize_observations: subtract the running mean and divide by the standard deviation.
        options: keyword arguments of a user's own module, or of a special policy.
    """

    network: str = "feed_forward"
    hidden_sizes: tuple[int, ...] = (64, 64)
    hidden_activation: str = "tanh"
    output_activation: str = "tanh"
    normalize_observations: bool = False
    options: dict[str, OptionValue] = {}
