"""Instances of moto's that take their time to end, as EC2's do: until their machine is off."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from moto.ec2.models.instances import Instance

_SHUTTING_DOWN = ("shutting-down", 32)
_TERMINATED = ("terminated", 48)

_terminate = Instance.terminate


@contextmanager
def slow_endings(is_on: Callable[[str], bool]) -> Iterator[Callable[[], None]]:
    """Moto ends instances at once. For a while, those whose machine ``is_on`` shut down first.

    Returns what is to be called again and again, to have those ended whose machines are off.
    """
    ending: dict[str, Any] = {}

    def terminate(instance: Any) -> Any:
        if instance.state in (_SHUTTING_DOWN[0], _TERMINATED[0]):
            return copy.copy(instance._state)  # it cannot end twice
        before = _terminate(instance)
        if is_on(instance.id):
            instance._state.name, instance._state.code = _SHUTTING_DOWN
            ending[instance.id] = instance
        return before

    def end_those_that_are_off() -> None:
        for name, instance in list(ending.items()):
            if not is_on(name):
                instance._state.name, instance._state.code = _TERMINATED
                del ending[name]

    with mock.patch.object(Instance, "terminate", terminate):
        yield end_those_that_are_off
