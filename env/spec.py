"""Which environment, as data that travels."""

from __future__ import annotations

import msgspec

OptionValue = str | int | float | bool | None | list[float] | dict[str, float]


class EnvSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment and how it is wrapped.

    Attributes:
        name: a Gymnasium id, one of ours, or ``module:Id`` from a folder the user included.
        options: keyword arguments of the environment's constructor.
        frame_skip: simulator steps for which one action is held.
        history_len: consecutive observations stacked into one, oldest first.
        max_ep_length: cap of an episode in simulator steps; ``None``: the environment's own.
    """

    name: str
    options: dict[str, OptionValue] = {}
    frame_skip: int = 1
    history_len: int = 1
    max_ep_length: int | None = None
