"""A head of its own: ``python ray_head.py ADDRESS FOLDER KIND [NUM]``, for tests that end it.

Opens a ray pool as a command does, says ``open``, and evaluates a generation in which rollout 3 has
an accident of this kind; then says what came of it, and exits with the code of how it ended.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from real_fleet import INCLUDE, collect, expected, experiment_of, generation_of, said, seeds_of

from errors import EsError
from fleet.pools import Site, open_pool
from search.noise import open_table
from tracking.interruption import Interrupted, interruptible


def main(address: str, folder: Path, kind: str) -> None:
    calm = generation_of(pairs=2)
    with open_table(1, 10_000, folder) as noise:
        experiment = experiment_of(
            noise.spec, kind=kind, seeds=seeds_of(calm, [3]) if kind else [], folder=str(folder)
        )
        site = Site(
            "ray",
            folder / "log",
            workers=2,
            ray_address=address or None,
            include=INCLUDE,
            noise_dir=folder,
        )
        with open_pool(site, experiment, noise, lambda line: print(line, file=sys.stderr)) as pool:
            generation = generation_of(experiment.run_uid, pairs=2)
            print("open", flush=True)
            pool.open(generation)
            (answers,) = collect(pool, generation, within_s=600.0)
            wanted = expected(experiment, generation, noise)
            are_right = {rollout: said(record) for rollout, record in answers.items()} == wanted
            print(json.dumps({"are_right": are_right}), flush=True)


if __name__ == "__main__":
    try:
        with interruptible():
            main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except Interrupted as error:
        sys.exit(error.exit_code)
    except EsError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
