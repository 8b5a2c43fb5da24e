"""Whether this process may evaluate a run: what it computes has to be what the head would."""

from __future__ import annotations

from errors import VersionMismatch
from search.arithmetic import fingerprint
from search.code_version import code_version
from search.messages import Experiment, decode


def fitting(data: bytes) -> Experiment:
    """The run that ``data`` declares, where this process computes as its head does.

    Raises:
        VersionMismatch: it runs other code, or its processor rounds otherwise.
        MessageError: ``data`` is no declaration of a run.
    """
    experiment = decode(data, Experiment)
    if experiment.code_version != code_version():
        raise VersionMismatch(
            f"the head runs code {experiment.code_version}, this worker {code_version()}: "
            "bring both to the same release and start the workers again"
        )
    if experiment.arithmetic != fingerprint() and not experiment.mixed_hardware:
        raise VersionMismatch(
            f"this processor rounds otherwise ({fingerprint()}) than the head's "
            f"({experiment.arithmetic}): use workers of one kind, or mixed_hardware=True, "
            "which makes the run not reproducible"
        )
    return experiment
