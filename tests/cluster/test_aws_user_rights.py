"""The policies that `manage.py policy` prints allow all that our commands do, call by call."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

from aws_clusters import SETTINGS, Account, quiet
from moto_cloud import Calls, MotoCloud, called

from cluster.aws.account import place_of, set_up, tear_down
from cluster.aws.baking import bake
from cluster.aws.policies import Document, account_policy, user_policy
from cluster.aws.scaling import Change
from cluster.aws.user_data import BAKE_KEY

# Where IAM's word is not the operation's.
ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
}
PREFIXES = {"service-quotas": "servicequotas"}


def actions(calls: Calls) -> set[str]:
    """What IAM calls them."""
    return {
        f"{PREFIXES.get(service, service)}:{ACTIONS.get(operation, operation)}"
        for operation, service in calls.services.items()
    }


def not_allowed(calls: Calls, *documents: Document) -> set[str]:
    patterns = [a for d in documents for statement in d["Statement"] for a in statement["Action"]]
    return {
        action
        for action in actions(calls)
        if not any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)
    }


def test_the_users_policy_is_enough_from_launch_to_kill(cloud: MotoCloud, tmp_path: Path) -> None:
    account = Account(cloud, tmp_path)
    place = place_of(account.aws, SETTINGS)
    calls = Calls()
    with called(account.aws, "after-call", calls.after):
        account.provider.plan(account.spec())
        spec = account.launch()
        account.provider.store(spec.key).put("runs/1/config.json", b"{}")
        account.provider.clusters(None)
        state = account.provider.cluster("oak", "ada")
        list(account.provider.log(state, None, 5, follow=False))
        account.provider.notes(state)
        account.provider.resize(state, 1)
        account.provider.set_price(state, Change(price=0.02, worker_types=("m6i.large",)))
        account.aws.ec2.terminate_instances(InstanceIds=[state.machines[0].name])
        account.provider.replace_head(account.provider.cluster("oak", "ada"))
        account.provider.fetch(state, tmp_path / "runs")
        account.provider.orphans(None)
        account.provider.kill(account.provider.cluster("oak", "ada"), quiet)
    assert {"ec2:RunInstances", "iam:CreateRole", "s3:PutObject"} < actions(calls)
    assert not_allowed(calls, user_policy(place)) == set()


def test_who_sets_an_account_up_needs_no_more_than_the_second_policy(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    place = place_of(account.aws, SETTINGS)
    calls = Calls()

    def installed(_s: float) -> None:
        for thing in account.things():
            account.provider.store(thing.names.key).put(BAKE_KEY, b"baked\n")

    aws: Any = account.aws
    with called(aws, "after-call", calls.after):
        source = account.source
        bake(aws, SETTINGS, source, account.archives, "0" * 64, "ada", quiet, installed)
        tear_down(aws, SETTINGS, quiet)
        set_up(aws, SETTINGS, quiet)
        set_up(aws, SETTINGS, quiet)
    both = user_policy(place), account_policy(place)
    assert not_allowed(calls, *both) == set()
    assert {"s3:CreateBucket", "ec2:CreateSecurityGroup"} <= not_allowed(calls, both[0])
