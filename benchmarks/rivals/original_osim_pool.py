"""Candidates evaluated as who uses osim-rl does: its own environment, in `multiprocessing.Pool`.

The other side of `opensim_pool.py`, in an interpreter of its own: nothing of ours is imported. For
each line it reads, JSON of ``[thetas, steps]``, it answers with the simulator steps made and the
seconds it took. An environment lives as long as its process, and the next candidate goes to
whichever process is free: the best that such a program can do.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import time
from typing import Any

import numpy as np
from original_osim_rl import START_POSE, walk

_Rollout = tuple[list[float], int]


class Walker:
    """osim-rl's environment and its controller, as each process of the pool has them."""

    def __init__(self) -> None:
        self._env = walk("2D")
        from osim.control.osim_loco_reflex_song2019 import OsimReflexCtrl

        self._controller: Any = OsimReflexCtrl(mode=sys.intern("2D"), dt=0.01)

    def steps(self, theta: list[float], max_steps: int) -> int:
        """Walk until the fall, or for so many steps."""
        env, controller = self._env, self._controller
        controller.reset()
        controller.set_control_params(np.array(theta))
        env.reset(init_pose=np.array(START_POSE))
        for step in range(1, max_steps + 1):
            if env.step(controller.update(env.get_observation_dict()))[2]:
                return step
        return max_steps


_walker: Walker


def begin() -> None:
    """In a process of the pool: build what it keeps. A pool hands it on by a global only."""
    global _walker
    with contextlib.redirect_stdout(sys.stderr):
        _walker = Walker()


def evaluate(rollout: _Rollout) -> int:
    """In a process of the pool: one candidate's steps."""
    with contextlib.redirect_stdout(sys.stderr):
        return _walker.steps(*rollout)


def main() -> None:
    """Answer until nobody asks."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    with multiprocessing.get_context("spawn").Pool(int(sys.argv[1]), begin) as pool:
        for line in sys.stdin:
            thetas, max_steps = json.loads(line)
            began_s = time.perf_counter()
            rollouts = [(theta, max_steps) for theta in thetas]
            num_steps = sum(pool.imap_unordered(evaluate, rollouts))
            print(num_steps, time.perf_counter() - began_s, flush=True)


if __name__ == "__main__":
    main()
