"""What workers are told of a run that is measured."""

from __future__ import annotations

from env.spec import EnvSpec
from policy.spec import PolicySpec
from search.arithmetic import fingerprint
from search.code_version import code_version
from search.messages import MESSAGE_VERSION, Experiment, GuardSpec, NoiseSpec


def experiment_with(run_uid: str, env: EnvSpec, policy: PolicySpec, noise: NoiseSpec) -> Experiment:
    """By what is left to choose."""
    return Experiment(
        version=MESSAGE_VERSION,
        run_uid=run_uid,
        run_id="benchmark",
        code_version=code_version(),
        arithmetic=fingerprint(),
        env=env,
        policy=policy,
        noise=noise,
        guard=GuardSpec(),
    )
