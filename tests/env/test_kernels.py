"""OpenSim's numbers, the same on every processor that can compute them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from env.musculoskeletal.kernels import VARIABLE, opensim_kernels, pinned_kernels
from search.arithmetic import fingerprint

_OPENSIMS_OPENBLAS = """
from env.musculoskeletal.model import import_opensim
from threadpoolctl import threadpool_info

import_opensim()
print(*[i["architecture"] for i in threadpool_info() if "opensim.libs" in i["filepath"]])
"""
_WITH_A_MODULE_OF_THE_USERS = """
import sys
from pathlib import Path

from env import registry
from env.spec import EnvSpec

registry.make(EnvSpec(sys.argv[1], options=eval(sys.argv[2])), include=Path(sys.argv[3]))
"""
_THE_USERS = """
import opensim
import gymnasium

gymnasium.register("Mine-v0", "gymnasium.envs.classic_control:CartPoleEnv")

def reward(moment):
    return 0.0
"""
_THAT_LOADS_IT_LATER = """
import gymnasium

gymnasium.register("Mine-v0", "later_env:Mine")
"""
_ITS_ENVIRONMENT = """
import opensim
from gymnasium.envs.classic_control import CartPoleEnv as Mine
"""
_WALK = """
import numpy as np

from env.musculoskeletal.walk2d import Walk2D

env = Walk2D()
env.reset(seed=0)
for step in range(40):
    observation, *_ = env.step(np.full(22, 0.05 + 0.01 * (step % 7)))
print(observation[242:].tobytes().hex())
"""
_X86 = platform.machine() in ("x86_64", "AMD64")

linux_on_x86 = pytest.mark.skipif(
    not (_X86 and sys.platform.startswith("linux") and find_spec("opensim") and find_spec("osim")),
    reason="OpenSim has OpenBLAS on Linux on x86 only",
)


def printed_by(code: str, *arguments: str, **environment: str) -> str:
    there = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.check_output(command, env=there | environment, text=True).strip()


@linux_on_x86
def test_a_processor_with_avx2_has_haswells() -> None:
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].splitlines()[0].split()
    expected = "Haswell" if {"avx2", "fma"} <= set(flags) else "Prescott"
    assert opensim_kernels() == expected


@linux_on_x86
def test_opensim_is_loaded_with_them() -> None:
    assert printed_by(_OPENSIMS_OPENBLAS) == opensim_kernels()


@linux_on_x86
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mine:Mine-v0", {}),
        ("later:Mine-v0", {}),
        ("OpenSimArm2D-v0", {"reward": "mine:reward"}),
    ],
    ids=["environment", "entry_point", "reward"],
)
def test_so_it_is_where_a_module_of_the_users_loads_it(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(_THE_USERS)
    (tmp_path / "later.py").write_text(_THAT_LOADS_IT_LATER)
    (tmp_path / "later_env.py").write_text(_ITS_ENVIRONMENT)
    code = _WITH_A_MODULE_OF_THE_USERS + _OPENSIMS_OPENBLAS
    assert printed_by(code, name, repr(options), str(tmp_path)) == opensim_kernels()


@linux_on_x86
def test_who_names_others_gets_them_and_other_numbers() -> None:
    assert printed_by(_OPENSIMS_OPENBLAS, **{VARIABLE: "Prescott"}) == "Prescott"
    ours = printed_by(_WALK)
    assert printed_by(_WALK, **{VARIABLE: opensim_kernels()}) == ours
    if opensim_kernels() == "Haswell":
        assert printed_by(_WALK, **{VARIABLE: "Prescott"}) != ours


def test_others_round_otherwise_by_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    ours = fingerprint()
    monkeypatch.setenv(VARIABLE, "Nehalem")
    assert fingerprint() != ours


@pytest.mark.parametrize(
    "simd", [{"baseline": ["SSE3"], "found": ["AVX2"], "not found": ["FMA3"]}, {}]
)
def test_without_avx2_they_are_the_oldest(
    simd: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("numpy.show_config", lambda mode: {"SIMD Extensions": simd})
    assert opensim_kernels() == "Prescott"


def test_other_processors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert opensim_kernels() == "aarch64"
    with pinned_kernels():
        assert VARIABLE not in os.environ


def test_nobody_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with suppress(ImportError), pinned_kernels():
        raise ImportError
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "Zen")
    with pinned_kernels():
        assert os.environ[VARIABLE] == "Zen"
    assert os.environ[VARIABLE] == "Zen"
