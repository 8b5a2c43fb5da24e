"""A launch that is cut off leaves nothing, whichever of its calls was the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from aws_clusters import Account, quiet
from botocore import xform_name
from moto_cloud import Calls, MotoCloud, called

from errors import AccessRefused, ResourceExhausted

RUN = "before-call.ec2.RunInstances"


class CutOff(Exception):
    """What no code of ours expects."""


def refusal(code: str, operation: str) -> botocore.exceptions.ClientError:
    """AWS's no."""
    return botocore.exceptions.ClientError(
        {"Error": {"Code": code, "Message": "no, indeed"}}, operation
    )


@pytest.mark.timeout(900)  # some forty launches
def test_wherever_a_launch_is_cut_off_nothing_is_left(cloud: MotoCloud, tmp_path: Path) -> None:
    """The call was made each time, and its answer was lost: nobody can remember what it made."""
    account = Account(cloud, tmp_path)
    calls = Calls()
    with called(account.aws, "after-call", calls.after):
        account.launch(name="beside")  # of whom nothing may be missing in the end
        beside = {str(thing) for thing in account.things()}
        files = account.files()

        calls.made.clear()
        account.launch()
        everything = list(calls.made)
        account.provider.kill(account.provider.cluster("oak", "ada"), quiet)
        assert {"PutObject", "RunInstances"} < set(everything)
        assert everything[-1] == "PutScheduledUpdateGroupAction"

        for number, operation in enumerate(everything):
            error = KeyboardInterrupt() if number % 2 else CutOff()
            calls.cut_after(number, error)
            with pytest.raises(type(error)):
                account.launch()
            assert calls.made[number] == operation
            assert {str(thing) for thing in account.things()} == beside, operation
            assert account.files() == files, operation


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("InsufficientInstanceCapacity", ResourceExhausted, "no such machine to give at present"),
        ("VcpuLimitExceeded", ResourceExhausted, "Service Quotas"),
        ("UnauthorizedOperation", AccessRefused, "RunInstances"),
    ],
)
def test_what_aws_refuses_is_said_in_plain_words_and_nothing_is_left(
    cloud: MotoCloud, tmp_path: Path, code: str, error: type[Exception], said: str
) -> None:
    account = Account(cloud, tmp_path)

    def refuse(**_call: object) -> None:
        raise refusal(code, "RunInstances")

    with called(account.aws, RUN, refuse), pytest.raises(error, match=said):
        account.launch()
    assert account.things() == []


def test_a_head_starts_in_the_next_subnet_where_one_has_no_room(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    tried: list[str] = []

    def full_at_first(params: dict[str, dict[str, str]], **_call: object) -> None:
        tried.append(params["body"]["ClientToken"])
        if len(tried) < 3:
            raise refusal("InsufficientInstanceCapacity", "RunInstances")

    with called(account.aws, RUN, full_at_first):
        account.launch()
    assert len(set(tried)) == 3  # a token stands for one subnet
    assert account.provider.cluster("oak", "ada").machines[0].role == "head"


def test_a_launch_waits_until_a_new_role_is_known_everywhere(
    cloud: MotoCloud, tmp_path: Path
) -> None:
    account = Account(cloud, tmp_path)
    waits: list[float] = []
    unknown = "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance"

    def unknown_at_first(**_call: object) -> None:
        if len(waits) < 2:
            answer = {"Error": {"Code": "InvalidParameterValue", "Message": f"{unknown} Profile"}}
            raise botocore.exceptions.ClientError(answer, "RunInstances")

    with called(account.aws, RUN, unknown_at_first):
        account.launch(account.provider_with(sleep=waits.append))
    assert waits == [5.0, 5.0]


def test_a_second_interrupt_does_not_stop_the_removal(cloud: MotoCloud, tmp_path: Path) -> None:
    account = Account(cloud, tmp_path)
    ended: list[str] = []

    def fail(**_call: object) -> None:
        raise CutOff

    def interrupt(**_call: object) -> None:
        ended.append("group")
        if len(ended) == 1:
            raise KeyboardInterrupt

    with (
        called(account.aws, "after-call.auto-scaling.CreateAutoScalingGroup", fail),
        called(account.aws, "before-call.auto-scaling.DeleteAutoScalingGroup", interrupt),
        pytest.raises(CutOff),
    ):
        account.launch()
    assert len(ended) > 1
    assert account.things() == []


def test_a_call_that_boto3_repeats_makes_one_thing(cloud: MotoCloud, tmp_path: Path) -> None:
    """Its answer was lost, the thing was made: the second try finds it there."""
    account = Account(cloud, tmp_path)
    other = cloud.fresh_aws()
    repeated: set[str] = set()

    def make_first(params: dict[str, Any], model: Any, **_call: object) -> None:
        if model.name not in {
            "CreateLogGroup",
            "PutParameter",
            "CreateRole",
            "CreateInstanceProfile",
            "AddRoleToInstanceProfile",
        }:
            return
        repeated.add(model.name)
        client = other.client(model.service_model.service_name)
        getattr(client, xform_name(model.name))(**params)

    with called(account.aws, "before-parameter-build", make_first):
        account.launch()
    assert len(repeated) == 5  # groups: moto makes a second one, which AWS refuses
    state = account.provider.cluster("oak", "ada")
    assert [machine.role for machine in state.machines] == ["head", "worker", "worker"]
    account.provider.kill(state, quiet)
    assert account.things() == []
