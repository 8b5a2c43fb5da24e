"""A pool for one run, by its name, with all that it needs for as long as it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from env import registry
from fleet.evaluation.guarded_evaluator import GuardedEvaluator
from fleet.head.redis_pool import RedisPool
from fleet.provision import Workers, provision
from fleet.security.access import NO_ACCESS, Access
from fleet.serial_pool import SerialPool
from search.evaluator import Evaluator
from search.messages import Experiment
from search.noise import NoiseTable
from search.protocol import Pool


@dataclass(frozen=True)
class Site:
    """Where a run's rollouts are evaluated.

    Attributes:
        pool: a name of `search.run_config.POOLS`.
        log: file that started workers write to.
        workers, redis_url, access, include, noise_dir: see `fleet.provision.provision`.
        ray_address, ray_dashboard: see `fleet.actors.cluster.connected`.
        min_task_runtime_s, max_losses, audit_fraction: see `fleet.head.redis_pool.RedisPool`.
    """

    pool: str
    log: Path
    workers: Workers = "auto"
    redis_url: str | None = None
    ray_address: str | None = None
    ray_dashboard: bool = False
    access: Access = NO_ACCESS
    include: Path | None = None
    noise_dir: Path | None = None
    min_task_runtime_s: float = 0.05
    max_losses: int = 8
    audit_fraction: float = 0.0


@contextmanager
def open_pool(
    site: Site, experiment: Experiment, noise: NoiseTable | None, notice: Callable[[str], None]
) -> Iterator[Pool]:
    """The pool that evaluates ``experiment`` at ``site``.

    Raises:
        ConfigError: the environment or the policy cannot be built.
        ServiceUnavailable, ResourceExhausted: see `fleet.provision.provision` and
            `fleet.actors.cluster.connected`.
        RunLocked: another head is at work on the run.
    """
    with ExitStack() as stack:
        pool: Pool
        if site.pool == "serial":
            evaluator = _evaluator(site, experiment, noise)
            stack.callback(evaluator.close)
            pool = SerialPool(evaluator, site.max_losses)
        elif site.pool == "ray":
            pool = _ray_pool(stack, site, experiment, notice)
        else:
            provisioned = stack.enter_context(
                provision(
                    site.workers,
                    site.redis_url,
                    include=site.include,
                    noise_dir=site.noise_dir,
                    notice=notice,
                    log=site.log,
                    access=site.access,
                )
            )
            pool = RedisPool(
                provisioned.client,
                experiment,
                min_task_runtime_s=site.min_task_runtime_s,
                max_losses=site.max_losses,
                audit_fraction=site.audit_fraction,
                notice=notice,
                check=provisioned.check,
            )
        stack.callback(pool.shutdown)
        yield pool


def _ray_pool(
    stack: ExitStack, site: Site, experiment: Experiment, notice: Callable[[str], None]
) -> Pool:
    from fleet.actors.cluster import connected

    include = stack.enter_context(
        connected(
            site.ray_address,
            workers=site.workers,
            dashboard=site.ray_dashboard,
            include=site.include,
            notice=notice,
        )
    )
    from fleet.actors.ray_pool import RayPool  # imports Ray, which takes a while

    return RayPool(
        experiment,
        workers=site.workers,
        include=include,
        noise_dir=site.noise_dir,
        min_task_runtime_s=site.min_task_runtime_s,
        max_losses=site.max_losses,
        notice=notice,
    )


def _evaluator(
    site: Site, experiment: Experiment, noise: NoiseTable | None
) -> Evaluator | GuardedEvaluator:
    """In this process, where that is safe: each rollout then saves two messages."""
    if registry.needs_guard(experiment.env):
        return GuardedEvaluator(experiment, include=site.include, noise_dir=site.noise_dir)
    return Evaluator(experiment, noise, site.include)
