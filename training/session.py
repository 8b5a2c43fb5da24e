"""Puts a run together from its config, and runs it."""

from __future__ import annotations

import gc
import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from env import registry
from errors import ConfigError
from fleet.pools import Site, open_pool
from fleet.security.access import NO_ACCESS, Access
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.journal import Closed, Journal
from search.loop import Loop, RunOutcome
from search.messages import MESSAGE_VERSION, Experiment, SeedRule
from search.noise import DEFAULT_SEED, NoiseTable, open_table, required_length
from search.protocol import Pool, Recorder, Strategy
from search.run_config import RunConfig
from search.run_state import RunState
from search.settings import LoopSettings
from training.beginning import Beginning, begin
from training.strategies import UNREPEATABLE, check_search, draws_noise, make_strategy

DEFAULT_VALIDATION_EPISODES = 10
WORKERS_LOG = "workers.log"

_OF_ONE_POOL = {"ray_address": "ray", "ray_dashboard": "ray", "audit_fraction": "redis"}

Notice = Callable[[str], None]


class Training:
    """One run, from its config to its result.

    Args:
        config: the run's, with today's names; see `settled`.
        run_id: the short number that people use.
        journal: the run's, held by this process.
        recorder: who remembers and shows.
        run_uid: of a run that is not resumed: a resumed one has its own.
        access: to Redis.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        run_id: int,
        journal: Journal,
        recorder: Recorder,
        run_uid: str | None = None,
        access: Access = NO_ACCESS,
    ) -> None:
        self._config = config
        self._run_id = run_id
        self._journal = journal
        self._recorder = recorder
        self._run_uid = run_uid or secrets.token_hex(16)
        self._access = access
        self._include = Path(config.include).resolve() if config.include else None
        self._noise_dir = Path(config.noise_dir) if config.noise_dir else None

    def run(self) -> tuple[RunOutcome, str]:
        """Train until an end is reached: how it ended, and the run's uid.

        Raises:
            EsError: as the parts do, one line each.
        """
        use_one_thread()
        config = self._config
        beginning = begin(config, self._include, self._recorder.notice)
        with ExitStack() as stack:
            noise = self._noise(stack, len(beginning.theta))
            if config.asynchronous:
                self._recorder.notice(
                    "asynchronous=True: candidates are told as they come, so this run cannot be "
                    "repeated to the bit"
                )
            elif config.tool in UNREPEATABLE:
                self._recorder.notice(
                    f"tool={config.tool} does not come out the same twice, so this run can be "
                    "neither repeated nor resumed"
                )
            strategy = make_strategy(config, beginning, noise, self._recorder.notice)
            check_overlap(config, strategy)
            is_resumed = config.resume is not None
            uid = self._journal.latest_snapshot().run_uid if is_resumed else self._run_uid
            settings = loop_settings(config, uid, beginning)
            state = RunState(strategy, settings, beginning.statistics)
            if is_resumed:
                state.resume(self._journal)
                self._recorder.notice(f"run {self._run_id} goes on at generation {state.told}")
            told = state.told
            pool = stack.enter_context(self._pool(uid, noise))
            # What is there now stays: records come by the ten thousand, and each collection they
            # set off would look through all of torch again, a third of the head's time.
            gc.collect()
            gc.freeze()
            outcome = Loop(state, pool, self._journal, self._recorder).run()
            if is_resumed and state.told == told:
                self._recorder.notice(
                    f"there was nothing left to do ({outcome.reason}): to go on, resume run "
                    f"{self._run_id} with a greater {outcome.ended_by}"
                )
        return outcome, uid

    def history(self) -> dict[int, dict[str, float]]:
        """Metrics by generation, of the generations that the journal holds as complete."""
        return {
            entry.totals.generations - 1: entry.metrics
            for entry in self._journal.entries()
            if isinstance(entry, Closed)
        }

    def _noise(self, stack: ExitStack, num_parameters: int) -> NoiseTable | None:
        if not draws_noise(self._config):
            return None
        length = max(self._config.noise_table_size, required_length(num_parameters))
        return stack.enter_context(open_table(DEFAULT_SEED, length, self._noise_dir))

    def _pool(self, uid: str, noise: NoiseTable | None) -> AbstractContextManager[Pool]:
        config = self._config
        experiment = Experiment(
            version=MESSAGE_VERSION,
            run_uid=uid,
            run_id=str(self._run_id),
            code_version=code_version(),
            arithmetic=fingerprint(),
            env=config.env_spec,
            policy=config.policy_spec,
            noise=noise.spec if noise is not None else None,
            guard=config.guard_spec,
            mixed_hardware=config.mixed_hardware,
        )
        site = Site(
            config.pool,
            log=self._journal.folder.parent / WORKERS_LOG,
            workers=config.workers,
            redis_url=config.redis_url,
            ray_address=config.ray_address,
            ray_dashboard=config.ray_dashboard,
            access=self._access,
            include=self._include,
            noise_dir=self._noise_dir,
            min_task_runtime_s=config.min_task_runtime,
            max_losses=config.max_losses,
            audit_fraction=config.audit_fraction,
        )
        return open_pool(site, experiment, noise, self._recorder.notice)


def settled(config: RunConfig, notice: Notice) -> RunConfig:
    """``config`` with today's names for what the older systems called otherwise, and counted in
    what the loop calls generations.

    Raises:
        ConfigError: it asks for something this version does not have.
    """
    check_search(config)
    check_pool(config)
    if config.include is not None and not Path(config.include).is_dir():
        raise ConfigError(f"include={config.include} is no folder: name the one with your modules")
    changes: dict[str, Any] = {"env_name": registry.canonical_name(config.env_name, notice)}
    for name, pool in (("local", "serial"), ("use_ray", "ray")):
        if getattr(config, name):
            notice(f"{name}=True is now called pool={pool}")
            changes |= {"pool": pool, name: False}
    return msgspec.structs.replace(config, **changes, **one_by_one(config))


def check_pool(config: RunConfig) -> None:
    """Refuse what the run's pool would pass over in silence.

    Raises:
        ConfigError: two pools are asked for, or an option is another pool's.
    """
    if config.local and config.use_ray:
        raise ConfigError("local=True is pool=serial and use_ray=True is pool=ray: set one of them")
    if config.ray_dashboard and config.ray_address is not None:
        raise ConfigError(
            f"ray_dashboard=True ray_address={config.ray_address}: a cluster that is there has its "
            "own dashboard: leave one of them out"
        )
    pool = "serial" if config.local else "ray" if config.use_ray else config.pool
    defaults = RunConfig()
    for name, whose in _OF_ONE_POOL.items():
        value = getattr(config, name)
        if value != getattr(defaults, name) and pool != whose:
            raise ConfigError(
                f"{name}={value} is for pool={whose}, and this run has pool={pool}: "
                f"leave it out, or resume with {name}={getattr(defaults, name)}"
            )


def one_by_one(config: RunConfig) -> dict[str, Any]:
    """What changes where every candidate is a generation: as much work, told one by one."""
    if not config.asynchronous:
        return {}
    if config.overlap:
        raise ConfigError(
            f"overlap={config.overlap} asynchronous=True: a search that is told one by one has "
            "pop_size candidates in flight: leave overlap out"
        )
    return {
        "num_generations": config.num_generations * config.pop_size,
        "validation_every": config.validation_every * config.pop_size,
        "render_every": config.render_every and config.render_every * config.pop_size,
        "overlap": config.pop_size - 1,
    }


def check_overlap(config: RunConfig, strategy: Strategy) -> None:
    """Refuse more open generations than the search can bear."""
    if config.overlap > strategy.max_overlap and config.asynchronous:
        raise ConfigError(
            f"pop_size={config.pop_size} asynchronous=True: at most {strategy.max_overlap + 1} "
            "candidates may be in flight"
        )
    if config.overlap > strategy.max_overlap:
        raise ConfigError(
            f"overlap={config.overlap}: tool={config.tool} bears at most "
            f"overlap={strategy.max_overlap}; asynchronous=True keeps workers busy instead"
        )


def loop_settings(
    config: RunConfig,
    run_uid: str,
    beginning: Beginning,
) -> LoopSettings:
    """The loop's settings; where episodes of one theta never differ, one measures them all."""
    num_validation = config.validation_episodes
    if num_validation is None:
        num_validation = 1 if beginning.is_deterministic else DEFAULT_VALIDATION_EPISODES
    return LoopSettings(
        run_uid=run_uid,
        seeds=SeedRule(config.seed, config.env_seed),
        num_generations=config.num_generations,
        num_episodes=config.num_episodes,
        num_validation=num_validation,
        validation_every=config.validation_every,
        num_final=num_validation if config.final_episodes is None else config.final_episodes,
        score_options=score_options(config),
        max_ep_length=beginning.max_ep_length,
        final_max_ep_length=beginning.final_max_ep_length,
        may_end_with_best=beginning.is_deterministic and config.recommend != "tool",
        observed_fraction=config.observed_fraction if config.normalize_observations else 0.0,
        max_failed_fraction=config.max_failed_fraction,
        overlap=config.overlap,
        asynchronous=config.asynchronous,
        num_checkpoints=config.num_serializations,
        render_every=config.render_every,
        target_fitness=config.target_fitness,
        max_wall_s=config.max_wall_s,
        max_env_steps=config.max_env_steps,
    )


def score_options(config: RunConfig) -> dict[str, Any]:
    """Options of the environment's reset in the episodes whose fitness is stated."""
    given = config.score_options
    return registry.score_options(config.env_spec) if given is None else given


def is_reproducible(config: RunConfig) -> bool:
    """Whether the same config comes to the same theta, wherever and how often it is run."""
    return not (config.asynchronous or config.mixed_hardware or config.tool in UNREPEATABLE)


def result_of(
    outcome: RunOutcome, *, run_id: int, run_uid: str, is_reproducible: bool
) -> dict[str, Any]:
    """What Sacred keeps as the run's result."""
    totals, final_v = outcome.totals, outcome.final_fitness_v
    return {
        "run_id": run_id,
        "run_uid": run_uid,
        "ended": outcome.reason,
        "generations": totals.generations,
        "rollouts": totals.rollouts,
        "env_steps": totals.env_steps,
        "failed_rollouts": totals.failed,
        "reissued_rollouts": totals.reissued,
        "lost_rollouts": totals.lost,
        "host_failures": totals.host_failures,
        "reproducible": is_reproducible and not totals.host_failures,
        "fitness_current": float(final_v.mean()) if len(final_v) else totals.current,
        "fitness_current_episodes": len(final_v),
        "fitness_best": totals.best_current,
        "fitness_best_candidate": totals.best_candidate,
        "wall_s": round(totals.wall_s, 3),
        "theta_sha256": theta_sha256(outcome.theta),
    }


def theta_sha256(theta: NDArray[np.float32]) -> str:
    """SHA-256 of theta's little-endian float32 bytes: equal exactly when every bit is."""
    return hashlib.sha256(theta.astype("<f4").tobytes()).hexdigest()


def last_line(result: dict[str, Any]) -> str:
    """The line a run ends with."""
    current = result["fitness_current"]
    shown = "none" if current is None else f"{current:.2f}"
    return (
        f"run {result['run_id']} done: {result['ended']}, {result['generations']} generations, "
        f"{result['env_steps']} steps, {result['wall_s']:.0f} s, fitness {shown} over "
        f"{result['fitness_current_episodes']} episodes, {result['failed_rollouts']} failed, "
        f"theta_sha256={result['theta_sha256']}"
    )
