"""How long and where: the gate has a minute for it, ``make test-cloud`` many."""

from __future__ import annotations

import os

import pytest
from network_space import why_no_namespaces

IS_FULL = os.environ.get("CLOUD") == "full"

WHY_NOT = why_no_namespaces()

APART = pytest.param(
    True,
    id="in-namespaces",
    marks=pytest.mark.skipif(bool(WHY_NOT), reason=f"no namespaces here: {WHY_NOT}"),
)
ON_LOOPBACK = pytest.param(False, id="on-loopback")

BOTH = [APART, ON_LOOPBACK]
PLACES = BOTH if IS_FULL else [ON_LOOPBACK if WHY_NOT else APART]
"""Where machines are: in namespaces of their own, or, where there are none, on loopback."""
