"""The commands that only AWS has, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aws_clusters import Account
from click.testing import CliRunner, Result
from moto_cloud import MotoCloud

from cluster.aws.remote import machine_of, ssh_words
from cluster.manage import cli
from errors import ConfigError


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=True)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALKING_ES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WALKING_ES_OWNER", "ada")
    monkeypatch.chdir(tmp_path)


def test_an_account_is_set_up_and_taken_down_again_by_hand(cloud: MotoCloud) -> None:
    assert (
        "would make: bucket walking-es-123456789012-eu-central-1"
        in typed("setup", "--dry_run").output
    )
    assert "made: security group" in typed("setup", "--ssh_from", "203.0.113.7/32").output
    assert typed("create-bucket").output.startswith("bucket walking-es-123456789012-eu-central-1")
    policy = json.loads(typed("policy").output)
    assert policy["Version"] == "2012-10-17"
    refused = typed("teardown")
    assert isinstance(refused.exception, ConfigError)
    assert "--yes" in str(refused.exception)
    assert "removed: bucket" in typed("teardown", "--yes").output
    assert typed("teardown", "--yes").exit_code == 0


def test_prices_are_changed_and_a_head_is_replaced_by_hand(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    account.launch()
    shown = typed("set-price", "oak", "--price=0.03", "--worker_type=m6i.large,m7i.large").output
    assert "0.0300 USD" in shown
    assert "m6i.large, m7i.large" in shown
    nothing = typed("set_price", "oak")
    assert isinstance(nothing.exception, ConfigError)
    head = account.provider.cluster("oak", "ada").machines[0].name
    assert "has a head" in str(typed("replace_head", "oak").exception)
    account.aws.ec2.terminate_instances(InstanceIds=[head])
    assert "goes on with the run" in typed("replace-head", "oak").output


def test_upload_says_what_it_would_do_and_what_to_do_next() -> None:
    shown = typed("upload", "203.0.113.7", "--dry_run").output
    assert "scp" in shown
    assert "ubuntu@203.0.113.7" in shown
    assert "python es/head.py run-server" in shown


def test_ssh_leads_to_the_machine_that_was_named(cloud: MotoCloud, tmp_path: Path) -> None:
    account = Account(cloud, tmp_path)
    account.launch()
    state = account.provider.cluster("oak", "ada")
    assert machine_of(state, None) == state.machines[0]
    assert machine_of(state, 1) == state.machines[2]
    with pytest.raises(ConfigError, match="no worker machine 2"):
        machine_of(state, 2)
    words = ssh_words(state.machines[0].address, Path("key.pem"), ["uptime"])
    assert words[:3] == ["ssh", "-i", "key.pem"]
    assert words[-2:] == [f"ubuntu@{state.machines[0].address}", "uptime"]
