"""The command line of a cluster's experiment on its head."""

from __future__ import annotations

from pathlib import Path

from cluster.machine.child_process import python
from cluster.spec import ClusterSpec

_SCRIPTS = {"es": "es/experiment.py", "nevergrad": "nevergrad_es/experiment.py"}
_EVALUATE = "env/evaluate.py"


def experiment_command(
    spec: ClusterSpec, *, runs_dir: Path, redis_url: str, include: str, resume: int | None
) -> list[str]:
    """What the head runs.

    Args:
        spec: says what, in its ``config``.
        runs_dir: where runs are kept on this machine.
        redis_url: of the head's Redis, without its password.
        include: folder with the user's own modules; empty: there is none.
        resume: id of the run in ``runs_dir`` to go on with; None: a new one.
    """
    if spec.experiment == "evaluate":
        words = [*spec.config, "--pool=redis", "--workers=0", f"--redis_url={redis_url}"]
        return python(_EVALUATE, *words, *([f"--include={include}"] if include else []))
    # Ours come last: the user's config may be of a run on one machine.
    ours = ["pool=redis", "workers=0", f"redis_url={redis_url}", f"runs_dir={runs_dir}"]
    if resume is not None:
        # All else is in the run's directory, and that is what to go on with.
        return python(_SCRIPTS[spec.experiment], "with", f"resume={resume}", *ours)
    if include:
        ours.append(f"include={include}")
    return python(_SCRIPTS[spec.experiment], "with", *spec.config, *ours)
