"""Every option of a run, with its type and default; what Sacred's config is checked against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from env.spec import EnvSpec
from env.spec import OptionValue as EnvOption
from errors import ConfigError, did_you_mean
from policy.spec import OptionValue as PolicyOption
from policy.spec import PolicySpec
from search.messages import GuardSpec


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of every experiment command, grouped by what they are about.

    The environment:
        env_name: a Gymnasium id, one of ours, or ``module:Id`` from the ``include`` folder.
        env_options: keyword arguments of the environment.
        env_seed: -1, a seed for each pair; None, one for the generation; an integer, that one.
        frame_skip, history_len, max_ep_length: steps an action is held, observations stacked,
            cap of an episode in simulator steps.
        include: folder with modules of your own.

    The policy:
        network: linear, feed_forward, symmetric, elman, gru, lstm, reflex, random, or
            ``module.Class``.
        hidden_sizes, hidden_activation, output_activation, network_options: its shape.
        normalize_observations, observed_fraction: running moments, and from what share of rollouts.

    The search:
        pop_size: candidates a generation, two for each mirrored pair.
        sigma, lr, l2coeff, optimizer, momentum, adam_beta1, adam_beta2, adam_epsilon, shaping.
        sigma_lr: above 0 each parameter learns a sigma of its own, at this rate; SNES' rule for D
            parameters is (3 + ln D) / (5 sqrt(D)): 0.27 for 20, 0.06 for 1,000. Best with clipup
            or sgd: adam's kind has a scale for each parameter already.
        num_episodes: episodes for each candidate.
        noise_table_size: float32 numbers in the shared noise table, 25 million or more.
        tool: ``openai_es``, or any name of Nevergrad's registry (``CMA``, ``TwoPointsDE``, ...).

    Nevergrad's searches:
        They use pop_size (candidates asked together; CMA's population) and sigma (the first step
        size), and neither lr nor what else is about the update.
        tool_options: parameters of the tool's family, such as ``tool_options.elitist=True``.
        bounds: least and greatest value of every parameter; None, no bounds.
        asynchronous: tell each candidate as it comes and ask for another at once, pop_size of them
            in flight: keeps workers busy where episodes differ in length; not reproducible.
        restarts: none, ipop or bipop: what CMA does when it stagnates.
        recommend: what theta is: tool, what the tool says (CMA: the mean of its distribution);
            best, the best candidate so far; auto, that where environment and policy are
            deterministic and observations are not normalised.

    What every search ends with, where environment and policy are deterministic: its last theta,
    or the one that validated best where that does better in the closing test. With recommend=tool
    it is the last one.

    Ends:
        num_generations, target_fitness, max_wall_s, max_env_steps: whichever comes first.

    Measuring and keeping:
        validation_episodes, validation_every, final_episodes: None is 10 validation episodes
            (1 where environment and policy are deterministic), and as many at the end.
        final_max_ep_length: cap of those at the end and of the video; None is max_ep_length.
        score_options: options of the environment's reset in those; None is what scores are stated
            in: ``preset=exact`` for OpenSim environments, nothing for others.
        num_serializations: how often the run's parameters are kept, besides best and last.
        runs_dir, author, render: where, by whom, and whether a video is made at the end.
        render_every: have each so-many-th generation filmed too, by a process beside the run; a
            generation that comes while another is being filmed has no video.
        mongo_url: MongoDB that keeps the run too, mongodb://USER@HOST/sacred without a password;
            off, none; None, that of the environment or of your settings, if any.
        notify: address that is told, by a short JSON, when the run ends, fails, or reaches its
            target or a limit; recorded as its host alone. None: ES_NOTIFY_URL, if any; off: none.

    Where it runs:
        pool: serial, redis or ray. ``local=True`` is pool=serial, ``use_ray=True`` pool=ray.
        workers: auto, or how many to start; redis_url: the head's Redis.
        ray_address: None, a Ray of this run's own here; auto, the cluster of this machine;
            ray://host:port, that one. ray_dashboard: have Ray show its own (on this machine only).
        force_cpu, sleep: accepted as in the older system; training runs on processors, unslowed.
        min_task_runtime: seconds of work in one task at least, where rollouts are short.
        rollout_timeout_s, max_rollouts_per_process, max_rss_mb, max_failed_fraction: the guard.
        max_losses: how often a rollout may be lost with its worker before it has failed.
        audit_fraction: share of the rollouts that two machines must agree in (pool=redis).
        overlap: further generations open while one completes.
        noise_dir: folder of the shared noise table; mixed_hardware: admit other processors.

    Beginning:
        load_from: run id whose last parameters to begin with, or a gait file (.json);
            resume: run id to go on with.
        initial_theta: policy, the policy's own first parameters; zeros, for policies without
            hidden layers. load_from comes before it.
    """

    env_name: str = "LunarLanderContinuous-v3"
    env_options: dict[str, EnvOption] = {}
    env_seed: int | None = -1
    frame_skip: int = 1
    history_len: int = 1
    max_ep_length: int | None = None
    include: str | None = None

    network: str = "feed_forward"
    hidden_sizes: tuple[int, ...] = (64, 64)
    hidden_activation: str = "tanh"
    output_activation: str = "tanh"
    network_options: dict[str, PolicyOption] = {}
    normalize_observations: bool = False
    observed_fraction: float = 0.1

    pop_size: int = 100
    sigma: float = 0.1
    sigma_lr: float = 0.0
    lr: float = 0.05
    l2coeff: float = 0.0
    optimizer: str = "adam"
    momentum: float = 0.9
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    shaping: str = "centered_ranks"
    num_episodes: int = 1
    noise_table_size: int = 25_000_000
    tool: str = "openai_es"

    tool_options: dict[str, PolicyOption] = {}
    bounds: tuple[float, float] | None = None
    asynchronous: bool = False
    restarts: str = "none"
    recommend: Literal["auto", "tool", "best"] = "auto"

    num_generations: int = 100
    target_fitness: float | None = None
    max_wall_s: float | None = None
    max_env_steps: int | None = None

    validation_episodes: int | None = None
    validation_every: int = 1
    final_episodes: int | None = None
    final_max_ep_length: int | None = None
    score_options: dict[str, str | float | int | bool | None] | None = None
    num_serializations: int = 10
    runs_dir: str = "runs"
    mongo_url: str | None = None
    notify: str | None = None
    author: str = ""
    render: bool = False
    render_every: int | None = None

    pool: str = "redis"
    workers: Literal["auto"] | int = "auto"
    redis_url: str | None = None
    ray_address: str | None = None
    ray_dashboard: bool = False
    min_task_runtime: float = 0.05
    rollout_timeout_s: float = 600.0
    max_rollouts_per_process: int = 100_000
    max_rss_mb: float = 1000.0
    max_failed_fraction: float = 0.5
    max_losses: int = 8
    audit_fraction: float = 0.0
    overlap: int = 0
    noise_dir: str | None = None
    mixed_hardware: bool = False
    local: bool = False
    use_ray: bool = False
    force_cpu: bool = True
    sleep: float = 0.0

    load_from: str | int | None = None
    initial_theta: Literal["policy", "zeros"] = "policy"
    resume: str | int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not _is_finite(getattr(self, name)):
                raise ValueError(
                    f"{name}={getattr(self, name)} must be finite: leave it out, or name a number"
                )
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name}={value} must be at least {least}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value} must be above 0")
        for name in _FRACTIONS:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} must be in 0..1")
        if self.audit_fraction and self.mixed_hardware:
            raise ValueError(
                f"audit_fraction={self.audit_fraction} needs machines that compute alike, and "
                "mixed_hardware=True admits others: set one of them only"
            )
        if isinstance(self.workers, int) and self.workers < 0:
            raise ValueError(f"workers={self.workers} must be auto, 0 or more")
        if self.pool not in POOLS:
            raise ValueError(f"pool={self.pool} must be {' or '.join(POOLS)}")
        if self.restarts not in RESTARTS:
            raise ValueError(f"restarts={self.restarts} must be {' or '.join(RESTARTS)}")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds={list(self.bounds)} must be the least and the greatest value")

    @property
    def env_spec(self) -> EnvSpec:
        return EnvSpec(
            name=self.env_name,
            options=self.env_options,
            frame_skip=self.frame_skip,
            history_len=self.history_len,
            max_ep_length=self.max_ep_length,
        )

    @property
    def policy_spec(self) -> PolicySpec:
        return PolicySpec(
            network=self.network,
            hidden_sizes=self.hidden_sizes,
            hidden_activation=self.hidden_activation,
            output_activation=self.output_activation,
            normalize_observations=self.normalize_observations,
            options=self.network_options,
        )

    @property
    def final_env_spec(self) -> EnvSpec:
        """The environment as the closing test and the video have it."""
        if self.final_max_ep_length is None:
            return self.env_spec
        return msgspec.structs.replace(self.env_spec, max_ep_length=self.final_max_ep_length)

    @property
    def guard_spec(self) -> GuardSpec:
        return GuardSpec(
            rollout_timeout_s=self.rollout_timeout_s,
            max_rollouts_per_process=self.max_rollouts_per_process,
            max_rss_mb=self.max_rss_mb,
        )


POOLS = ("redis", "serial", "ray")
RESTARTS = ("none", "ipop", "bipop")
_AT_LEAST = {
    "env_seed": -1,
    "frame_skip": 1,
    "history_len": 1,
    "max_ep_length": 1,
    "final_max_ep_length": 1,
    "observed_fraction": 0,
    "num_episodes": 1,
    "pop_size": 1,
    "noise_table_size": 25_000_000,
    "num_generations": 1,
    "validation_episodes": 0,
    "validation_every": 1,
    "final_episodes": 0,
    "render_every": 1,
    "num_serializations": 0,
    "min_task_runtime": 0,
    "max_rollouts_per_process": 1,
    "max_losses": 1,
    "overlap": 0,
    "l2coeff": 0,
    "sigma_lr": 0,
    "seed": 0,
}
_FRACTIONS = ("max_failed_fraction", "audit_fraction")
_POSITIVE = ("sigma", "lr", "max_wall_s", "max_env_steps", "rollout_timeout_s", "max_rss_mb")


def _is_finite(value: object) -> bool:
    """Whether JSON, which has no other numbers, can keep ``value`` and all that is in it."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, tuple | list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """The typed config of a plain mapping, as Sacred or a stored run gives it.

    Raises:
        ConfigError: an unknown option, or a value of the wrong type or out of range.
    """
    known = RunConfig.__struct_fields__
    for name in values:
        if name not in known:
            raise ConfigError(
                f"unknown option {name!r}{did_you_mean(name, known)} "
                "(all options: python es/experiment.py print_config)"
            )
    try:
        return msgspec.convert(values, RunConfig)
    except (msgspec.ValidationError, ValueError) as error:
        wrong, _, place = str(error).partition(" - at `$.")
        option = f"option {place.rstrip('`')}: " if place else ""
        raise ConfigError(f"{option}{wrong}; correct it after `with` or in the config") from None


def defaults() -> dict[str, Any]:
    """Every option at its default, as plain JSON values (without ``seed``, which Sacred draws)."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(RunConfig()))
    del values["seed"]
    return values
