"""An evaluator that survives its simulator: rollouts in a child that may hang, leak or crash."""

from __future__ import annotations

from pathlib import Path

from errors import ConfigError, ResourceExhausted
from fleet.child_process import OWN_SIGNALS, cause_of
from fleet.evaluation.process import EvaluationProcess
from search.messages import Experiment, Generation, RolloutRecord

_BUILD_S = 120.0
_BUILD_TRIES = 3


class GuardedEvaluator:
    """Evaluates as `search.evaluator.Evaluator` does, to the bit, and outlives what it runs.

    The child is killed when a rollout takes longer than ``guard.rollout_timeout_s``, and replaced
    after ``guard.max_rollouts_per_process`` rollouts or when its memory has grown by
    ``guard.max_rss_mb``. Use it from one thread.

    Args:
        experiment: which environment, policy, noise table and limits.
        include: folder of the user's own modules.
        noise_dir: folder of the shared noise table.

    Raises:
        ConfigError: the environment or the policy cannot be built here.
        EsError: the noise table cannot be opened.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        include: Path | None = None,
        noise_dir: Path | None = None,
    ) -> None:
        self._experiment = experiment
        self._include = include
        self._noise_dir = noise_dir
        self._process: EvaluationProcess | None = None
        try:
            self._replace()
        except BaseException:  # a Ctrl-C too: nobody else could end the child
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._process.pid if self._process is not None else None

    def evaluate(self, generation: Generation, rollout: int, attempt: int) -> RolloutRecord:
        """Run one rollout in the child.

        Returns:
            ``ok``; ``failed``, where the environment raised, gave no finite numbers, crashed its
            process, or (``host_failure``) took too long; ``lost``, where the child died of
            something else and the rollout should be run again (`fleet.head.ledger` counts them).

        Raises:
            MessageError: the generation's vectors do not fit this policy or noise table.
            ConfigError: the environment could be built before, and no longer can.
            ResourceExhausted: the machine kills every child.
        """
        if self._process is None or not self._process.is_ready or self._process.is_worn:
            self._replace()
        assert self._process is not None
        return self._process.evaluate(generation, rollout, attempt)

    def close(self) -> None:
        """End the child, at once where it is in a rollout. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _replace(self) -> None:
        self.close()
        timeout_s = max(_BUILD_S, self._experiment.guard.rollout_timeout_s)
        code = 0
        for _ in range(_BUILD_TRIES):
            self._process = EvaluationProcess(self._experiment, self._include, self._noise_dir)
            try:
                ended = self._process.begin(timeout_s)
            except TimeoutError:
                raise ConfigError(
                    f"environment {self._experiment.env.name} was not built within "
                    f"{timeout_s:g} s: try it outside this program"
                ) from None
            if ended is None:
                return
            code = ended
            if code >= 0:  # it will do the same again
                break
        what = f"building environment {self._experiment.env.name}: its process {cause_of(code)}"
        if code >= 0 or -code in OWN_SIGNALS:
            raise ConfigError(f"{what}; what it printed before may say why")
        raise ResourceExhausted(
            f"{what}, {_BUILD_TRIES} times in a row: give the machine more memory, or see who did"
        )
