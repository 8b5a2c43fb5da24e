"""How long and how hard: the ordinary gate has two minutes, ``make test-chaos`` many."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("CHAOS") == "full"
SOAK_S = float(os.environ.get("SOAK_S") or 20)
IS_LONG_SOAK = SOAK_S >= 900
"""Long enough for a twentieth to mean something."""

SAMPLES = os.environ.get("SOAK_SAMPLES")
"""File for what the soak measured, where somebody wants it."""
