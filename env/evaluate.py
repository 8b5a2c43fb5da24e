"""Score a policy: ``python env/evaluate.py <run id> --episodes 20``, or ``--gait FILE``.

Episodes run on the final-test seeds, which no training has seen, by the pools that training uses,
and OpenSim environments at their exact preset.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from env import registry
from env.gait_file import Gait, write_gait
from env.subject import Subject, subject_of
from errors import EsError, RunError, in_options
from fleet.connection import DEFAULT_URL, URL_VARIABLE, refuse_password_in
from fleet.pools import Site, open_pool
from fleet.security.access import NO_ACCESS, Access
from fleet.security.find_access import find_access
from policy.actor import build_actor
from policy.parameters import initial_theta
from policy.spec import PolicySpec
from search.arithmetic import fingerprint, use_one_thread
from search.code_version import code_version
from search.messages import (
    MESSAGE_VERSION,
    Experiment,
    Generation,
    Genomes,
    GuardSpec,
    RolloutRecord,
    SeedRule,
)
from search.run_config import POOLS
from search.scores import Scores

DEFAULT_EPISODES = 10
CONTROLLERS = ("trained", "untrained", "random")
_POLL_S = 0.5


@dataclass(frozen=True)
class Test:
    """Episodes to run.

    Attributes:
        gait: the policy and its environment.
        num_episodes: at least 1.
        seed: of which the final-test seeds are derived.
        score_options: options of the environment's reset.
        guard: when an episode is given up.
    """

    gait: Gait
    num_episodes: int
    seed: int
    score_options: dict[str, Any]
    guard: GuardSpec

    def generation(self, run_uid: str, include: Path | None) -> Generation:
        """A generation of theta alone, on the final-test seeds."""
        theta_d = self.gait.theta_d
        return Generation(
            version=MESSAGE_VERSION,
            run_uid=run_uid,
            number=0,
            candidates=Genomes.of(theta_d, np.empty((0, len(theta_d)), dtype=np.float32)),
            num_episodes=1,
            num_validation=self.num_episodes,
            seeds=SeedRule(self.seed),
            statistics=self.gait.statistics,
            max_ep_length=registry.time_limit(self.gait.env, include),
            final=True,
            score_options=self.score_options,
        )


def evaluate(test: Test, site: Site) -> Scores:
    """Run the episodes; the same scores wherever they run.

    Raises:
        ConfigError: environment or policy cannot be built, or theta does not fit.
        RunError: every episode failed.
    """
    use_one_thread()
    _check_fit(test.gait, site.include)
    run_uid = secrets.token_hex(16)
    experiment = Experiment(
        version=MESSAGE_VERSION,
        run_uid=run_uid,
        run_id="evaluation",
        code_version=code_version(),
        arithmetic=fingerprint(),
        env=test.gait.env,
        policy=test.gait.policy,
        noise=None,
        guard=test.guard,
    )
    generation = test.generation(run_uid, site.include)
    records: dict[int, RolloutRecord] = {}
    with open_pool(site, experiment, None, _say_aside) as pool:
        pool.open(generation)
        hidden = not sys.stderr.isatty()
        with click.progressbar(
            length=test.num_episodes, label="episodes", file=sys.stderr, hidden=hidden
        ) as bar:
            while len(records) < test.num_episodes:
                for batch in pool.results(_POLL_S):
                    bar.update(len({r.rollout for r in batch.records} - set(records)))
                    records |= {record.rollout: record for record in batch.records}
    scores = Scores.of(records[rollout] for rollout in sorted(records))
    if not scores.scored:
        raise RunError(f"all {test.num_episodes} episodes failed: {scores.failed[0].error}")
    return scores


def by_controller(gait: Gait, controller: str, seed: int, include: Path | None) -> Gait:
    """``gait`` with other parameters: ``untrained``, those that a search would start from, or
    ``random``, actions drawn from the action space.
    """
    if controller == "trained":
        return gait
    policy = PolicySpec("random") if controller == "random" else gait.policy
    env = registry.make(gait.env, include=include)
    theta = initial_theta(policy, env.observation_space, env.action_space, seed, include)
    env.close()
    return Gait.of(gait.env, policy, theta, None, {})


def _check_fit(gait: Gait, include: Path | None) -> None:
    """Refuse here, in a line, what every worker would refuse."""
    env = registry.make(gait.env, include=include)
    try:
        actor = build_actor(gait.policy, env.observation_space, env.action_space, include=include)
        actor.load(gait.theta_d, gait.statistics)
    finally:
        env.close()


def _say_aside(line: str) -> None:
    click.echo(line, err=True)


def _print(scores: Scores) -> None:
    click.echo("episode     reward   steps  distance")
    for number, record in enumerate(scores.scored):
        distance = "" if record.distance_m is None else f"{record.distance_m:7.2f} m"
        click.echo(f"{number:7d} {record.fitness:10.2f} {record.length:7d} {distance}")
    for record in scores.failed:
        click.echo(f"episode {record.rollout} failed: {record.error}")
    if scores.terms:
        click.echo(", ".join(f"{name} {value:.2f}" for name, value in scores.terms.items()))
    click.echo(scores.summary())


@click.command()
@click.argument("run_id", required=False)
@click.option("--gait", "gait_path", type=click.Path(path_type=Path), help="A gait file instead.")
@click.option("--episodes", type=click.IntRange(1), help="10; 1 where episodes never differ.")
@click.option("--gen", type=int, help="Generation of the checkpoint; the newest by default.")
@click.option(
    "--controller",
    type=click.Choice(CONTROLLERS),
    default="trained",
    show_default=True,
    help="Whose score: this policy's, its untrained self's, or that of random actions.",
)
@click.option(
    "--max_ep_length", type=click.IntRange(1), help="Another cap of an episode, in steps."
)
@click.option("--seed", type=click.IntRange(0), help="Of the test; the run's own by default.")
@click.option("--pool", type=click.Choice(POOLS), default="redis", show_default=True)
@click.option("--workers", type=click.IntRange(0), help="To start; by default those there are.")
@click.option("--redis_url", help="The head's Redis; also ES_REDIS_URL.")
@click.option("--runs_dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--include", type=click.Path(path_type=Path), help="Folder of your own modules.")
@click.option("--save", type=click.Path(path_type=Path), help="Keep the policy as a gait file.")
def main(
    run_id: str | None,
    gait_path: Path | None,
    episodes: int | None,
    gen: int | None,
    controller: str,
    max_ep_length: int | None,
    seed: int | None,
    pool: str,
    workers: int | None,
    redis_url: str | None,
    runs_dir: Path,
    include: Path | None,
    save: Path | None,
) -> None:
    """Score the policy of run RUN_ID on held-out episodes, OpenSim at the exact preset.

    It is the run's closing test again, with as many episodes as are asked for. A gait file's
    episodes end where the environment ends them.
    """
    try:
        if redis_url is not None:
            refuse_password_in(redis_url)
        redis_url = redis_url or os.environ.get(URL_VARIABLE)
        site = Site(
            pool,
            log=Path(tempfile.gettempdir()) / f"es-evaluate-{os.getpid()}.log",
            workers="auto" if workers is None else workers,
            redis_url=redis_url,
            access=_access(pool, redis_url),
            include=None if include is None else include.resolve(),
        )
        subject = subject_of(run_id, gait_path, runs_dir, "last" if gen is None else gen)
        test = test_of(subject, episodes, seed, max_ep_length)
        compared = by_controller(test.gait, controller, test.seed, site.include)
        click.echo(_title(subject, test, controller))
        scores = evaluate(replace(test, gait=compared), site)
        site.log.unlink(missing_ok=True)
        _print(scores)
        if save is not None:
            write_gait(save, _scored_gait(test.gait, scores))
            click.echo(f"kept in {save}")
    except EsError as error:
        click.echo(f"error: {in_options(error)}", err=True)
        sys.exit(error.exit_code)


def _access(pool: str, redis_url: str | None) -> Access:
    """To the Redis that was named, if there is one; nobody is asked about one that was not."""
    if pool != "redis":
        return NO_ACCESS
    return find_access(redis_url or DEFAULT_URL, may_ask=redis_url is not None)


def test_of(
    subject: Subject, episodes: int | None, seed: int | None, max_ep_length: int | None
) -> Test:
    """The closing test of the subject's run again, but for what is given."""
    gait = subject.gait
    if max_ep_length is not None:
        env = msgspec.structs.replace(gait.env, max_ep_length=max_ep_length)
        gait = msgspec.structs.replace(gait, env=env)
    if episodes is None:
        episodes = 1 if registry.is_deterministic(gait.env) else DEFAULT_EPISODES
    return Test(
        gait,
        episodes,
        subject.seed if seed is None else seed,
        registry.score_options(gait.env),
        subject.guard,
    )


def _title(subject: Subject, test: Test, controller: str) -> str:
    about = ", ".join(f"{name} {value}" for name, value in test.gait.about.items())
    options = ", ".join(f"{name} {value}" for name, value in test.score_options.items())
    env, policy = test.gait.env.name, test.gait.policy.network
    parts = [subject.title, env, f"policy {policy}", controller, about, options]
    return ", ".join(part for part in parts if part)


def _scored_gait(gait: Gait, scores: Scores) -> Gait:
    about = {**gait.about, "reward": round(scores.reward, 4), "episodes": len(scores.scored)}
    if scores.distance_m is not None:
        about["distance_m"] = round(scores.distance_m, 4)
    return msgspec.structs.replace(gait, about=about)


if __name__ == "__main__":
    main()
