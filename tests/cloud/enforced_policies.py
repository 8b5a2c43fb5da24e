"""IAM's policies enforced by moto, as far as it can tell what a call is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any
from unittest import mock

from moto import settings
from moto.iam.access_control import IAMPolicyStatement, PermissionResult

_UNKNOWN = "*"
"""What moto says of a call's resource, unless it is S3's."""

_MEANT = {"s3:HeadBucket": "s3:ListBucket"}
"""Actions by what moto calls them."""

_its_own = IAMPolicyStatement.is_action_permitted


@contextmanager
def enforced() -> Iterator[None]:
    """Everybody may do what policies allow them.

    By itself moto refuses whatever is allowed for some resources only, or on conditions: it hardly
    knows any. Here a statement holds as far as is known; what it denies on conditions is let pass.
    """

    def permitted(
        self: Any, action: str, resource: str, principal: str | None, conditions: Any
    ) -> PermissionResult:
        if principal is not None:  # a bucket's policy, or whom a role trusts
            return _its_own(self, action, resource, principal, conditions)
        action = _MEANT.get(action, action)
        if action == "s3:DeleteObject" and "/" not in resource:
            resource = _UNKNOWN  # several at once: moto asks it of the bucket
        return _permitted(self._statement, action, resource)

    with (
        mock.patch.object(IAMPolicyStatement, "is_action_permitted", permitted),
        mock.patch.object(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0),
    ):
        yield


def _permitted(statement: dict[str, Any], action: str, resource: str) -> PermissionResult:
    is_meant = _is_among(action, statement.get("Action", []))
    if "NotAction" in statement:
        is_meant = not _is_among(action, statement["NotAction"])
    is_known = resource != _UNKNOWN
    if is_known and not _is_among(resource, statement.get("Resource", _UNKNOWN)):
        is_meant = False
    is_allow = statement["Effect"] == "Allow"
    if not is_meant or (not is_allow and (statement.get("Condition") or not is_known)):
        return PermissionResult.NEUTRAL
    return PermissionResult.PERMITTED if is_allow else PermissionResult.DENIED


def _is_among(word: str, patterns: str | list[str]) -> bool:
    each = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(word.lower(), re.sub(r"\[", "[[]", p).lower()) for p in each)
