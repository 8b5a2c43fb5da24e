"""Contract suites share what the tests of their folders have built."""

from __future__ import annotations

import sys
from pathlib import Path

# `real_fleet`: a server, workers and an environment that gets into trouble on demand.
sys.path.append(str(Path(__file__).resolve().parents[1] / "fleet"))
