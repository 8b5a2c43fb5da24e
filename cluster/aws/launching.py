"""Making a cluster: everything of it, or, if anything fails, nothing."""

from __future__ import annotations

import json
import secrets as random_secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import botocore.exceptions
import msgspec

from cluster.aws.names import IAM_PATH, ROLES, Names, Role, tag_list
from cluster.aws.policies import Place, machine_policy, trust
from cluster.aws.removal import remove_cluster, remove_files
from cluster.aws.session import Aws, code_of
from cluster.aws.settings import AwsSettings
from cluster.aws.templates import Ground, template_data, workers_policy
from cluster.spec import SPEC_KEY, ClusterSpec

Say = Callable[[str], None]
Sleep = Callable[[float], None]
Result = TypeVar("Result")

LOG_DAYS = 14
"""How long AWS keeps what machines said."""

_PASSWORDS = ("redis-password", "worker-password")
_ROLE_WAIT_S = 120.0
_ROLE_PAUSE_S = 5.0


class Launch:
    """One launch: the same calls in the same order, each named after the cluster."""

    def __init__(
        self,
        aws: Aws,
        place: Place,
        settings: AwsSettings,
        spec: ClusterSpec,
        ground: Ground,
        *,
        say: Say,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._aws, self._place, self._settings = aws, place, settings
        self._spec, self._ground = spec, ground
        self._say, self._sleep = say, sleep
        self._names = Names(spec.key, spec.owner)

    def make(self, secrets: Mapping[str, str]) -> None:
        """Make everything, what the machines need before the machines.

        Args:
            secrets: the user's own, by name; the Redis passwords are made here.
        """
        self._put_spec()
        self._make_log_group()
        self._keep_secrets(secrets)
        for role in ROLES:
            self._make_role(role)
        for role in ROLES:
            self._make_template(role)
        head = self._start_head()
        self._say(f"head {head} ({self._settings.head_type}) starts")
        self._make_group()
        self._say(f"{self._spec.size} worker machines are asked for")

    def make_baking_head(self) -> str:
        """Make a head alone, which installs everything and starts nothing; its instance's id."""
        self._put_spec()
        self._make_log_group()
        self._make_role("head")
        self._make_template("head", bakes=True)
        return self._start_head()

    def _put_spec(self) -> None:
        key = f"{self._names.place}/{SPEC_KEY}"
        content = msgspec.json.encode(self._spec)
        self._aws.s3.put_object(Bucket=self._ground.bucket, Key=key, Body=content)

    def _make_log_group(self) -> None:
        name = self._names.log_group
        with _or_made_already():
            self._aws.logs.create_log_group(logGroupName=name, tags=self._names.tags())
        self._aws.logs.put_retention_policy(logGroupName=name, retentionInDays=LOG_DAYS)

    def _keep_secrets(self, secrets: Mapping[str, str]) -> None:
        made = {name: random_secrets.token_urlsafe(32) for name in _PASSWORDS}
        for name, value in {**secrets, **made}.items():
            with _or_made_already():
                self._aws.ssm.put_parameter(
                    Name=self._names.parameter(name),
                    Value=value,
                    Type="SecureString",
                    Tags=tag_list(self._names.tags()),
                )

    def _make_role(self, role: Role) -> None:
        name, iam = self._names.of(role), self._aws.iam
        tags = tag_list(self._names.tags(role))
        with _or_made_already():
            iam.create_role(
                RoleName=name,
                Path=IAM_PATH,
                AssumeRolePolicyDocument=json.dumps(trust()),
                Description=f"A {role} of walking-es cluster {self._spec.key}",
                PermissionsBoundary=self._ground.boundary,
                Tags=tags,
            )
        policy = json.dumps(machine_policy(self._place, self._names, role))
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy)
        with _or_made_already():
            iam.create_instance_profile(InstanceProfileName=name, Path=IAM_PATH, Tags=tags)
        with _or_made_already():
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    def _make_template(self, role: Role, bakes: bool = False) -> None:
        self._aws.ec2.create_launch_template(
            LaunchTemplateName=self._names.of(role),
            ClientToken=self._token(f"{role}-template"),
            LaunchTemplateData=template_data(
                self._spec, role, self._settings, self._ground, self._aws.region, bakes=bakes
            ),
            TagSpecifications=[
                {"ResourceType": "launch-template", "Tags": tag_list(self._names.tags(role))}
            ],
        )

    def _start_head(self) -> str:
        """Its instance's id."""
        return start_head(
            self._aws, self._names, self._ground.subnets, self._token("head"), self._sleep
        )

    def _make_group(self) -> None:
        template = self._names.of("worker")
        policy = workers_policy(self._settings, template, "$Latest")
        with _or_made_already():
            _once_the_role_is_known(
                lambda: self._aws.autoscaling.create_auto_scaling_group(
                    AutoScalingGroupName=self._names.group,
                    MixedInstancesPolicy=policy,
                    MinSize=0,  # so that a machine may leave
                    MaxSize=self._spec.size,
                    DesiredCapacity=self._spec.size,
                    CapacityRebalance=True,
                    VPCZoneIdentifier=",".join(self._ground.subnets),
                    Tags=[
                        tag | {"PropagateAtLaunch": True}
                        for tag in tag_list(self._names.tags("worker"))
                    ],
                ),
                self._sleep,
            )
        # AWS itself empties the group at the end: machines that end themselves are replaced.
        self._aws.autoscaling.put_scheduled_update_group_action(
            AutoScalingGroupName=self._names.group,
            ScheduledActionName="max_hours",
            StartTime=datetime.fromtimestamp(self._spec.ends_s, UTC),
            MinSize=0,
            MaxSize=0,
            DesiredCapacity=0,
        )

    def _token(self, what: str) -> str:
        """A client token: a call that is repeated after a broken connection makes nothing twice."""
        return f"{self._spec.uid}-{what}"


def start_head(
    aws: Aws, names: Names, subnets: tuple[str, ...], token: str, sleep: Sleep = time.sleep
) -> str:
    """Start the head's machine from its template, in the first subnet that has room; its id."""

    def run(subnet: str) -> dict[str, Any]:
        answer: dict[str, Any] = aws.ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": names.of("head"), "Version": "$Latest"},
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet,
            ClientToken=f"{token}-{subnet[-8:]}",
        )
        return answer

    for subnet in subnets[:-1]:
        try:
            answer = _once_the_role_is_known(lambda subnet=subnet: run(subnet), sleep)  # type: ignore[misc]
        except botocore.exceptions.ClientError as error:
            if code_of(error) not in ("InsufficientInstanceCapacity", "Unsupported"):
                raise
        else:
            return str(answer["Instances"][0]["InstanceId"])
    answer = _once_the_role_is_known(lambda: run(subnets[-1]), sleep)
    return str(answer["Instances"][0]["InstanceId"])


def _once_the_role_is_known(call: Callable[[], Result], sleep: Sleep) -> Result:
    """Repeat ``call`` while EC2 has not heard of a profile that IAM has just made."""
    for _ in range(int(_ROLE_WAIT_S / _ROLE_PAUSE_S)):
        try:
            return call()
        except botocore.exceptions.ClientError as error:
            said = str(error.response.get("Error", {}).get("Message", "")).lower()
            if "profile" not in said or "invalid" not in said:
                raise
        sleep(_ROLE_PAUSE_S)
    return call()


# A profile holds one role: to add it again is one too many.
_ONE_TOO_MANY = "InstanceSessionsPerInstanceProfile"
_EXISTS = {
    "AlreadyExists",
    "EntityAlreadyExists",
    "ParameterAlreadyExists",
    "ResourceAlreadyExistsException",
}


@contextmanager
def _or_made_already() -> Iterator[None]:
    """For calls that take no client token: boto3 repeats a call whose answer was lost, and is told
    that the thing is there. Nobody else makes one of that name: a cluster's uid is in it.
    """
    try:
        yield
    except botocore.exceptions.ClientError as error:
        if code_of(error) not in _EXISTS and _ONE_TOO_MANY not in str(error):
            raise


@contextmanager
def undone_on_error(
    aws: Aws, bucket: str, names: Names, say: Say, sleep: Sleep = time.sleep
) -> Iterator[None]:
    """Remove whatever there is of a cluster if the block fails, Ctrl-C included.

    What was made is looked for, not remembered: a call may have worked whose answer never came.
    A second Ctrl-C is said no to once: it is the first one's work that it would cut off.
    """
    try:
        yield
    except BaseException:
        say("the launch did not work: what was made is being removed")
        try:
            _undo(aws, bucket, names, say, sleep)
        except KeyboardInterrupt:
            say("still removing; interrupt again to leave it as it is")
            _undo(aws, bucket, names, say, sleep)
        raise


def _undo(aws: Aws, bucket: str, names: Names, say: Say, sleep: Sleep) -> None:
    try:
        left = remove_cluster(aws, names.key, say, looks=2, sleep=sleep)
        remove_files(aws, bucket, names, keep_runs=False)
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        say(
            f"it could not all be removed ({error}): run "
            f"`python cluster/manage.py kill {names.key}` until it says that nothing is left"
        )
        return
    for thing in left:
        say(f"is left: {thing}; run `python cluster/manage.py kill {names.key}`")
