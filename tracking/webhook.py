"""One JSON posted to an address that people gave, within a time limit.

Such an address is a secret as often as not (whoever knows a chat's may write into it): it is shown
and recorded as its host, and nothing more.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import urlsplit

from errors import ConfigError, ServiceUnavailable

OFF = "off"
URL_VARIABLE = "ES_NOTIFY_URL"
EXPECTED = "https://HOST/PATH"
_CUT = "/..."
_TIMEOUT_S = 5.0
_PAUSES_S = (1.0, 3.0)
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Webhook:
    """An address to post to.

    Attributes:
        url: all of it, never shown.
        shown: its scheme and host.
    """

    url: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        return self.shown


def find_webhook(given: str | None, environment: Mapping[str, str] = os.environ) -> Webhook | None:
    """The address that a command line gives, else ``ES_NOTIFY_URL``; ``None``: there is none, or
    it is to be `OFF`. For the edges only.

    Args:
        given: may be what a run recorded, which is of no use if something was cut off.

    Raises:
        ConfigError: it is no such address.
    """
    if given == OFF:
        return None
    if given and not given.endswith(_CUT):
        return parse_webhook(given, "notify")
    named = environment.get(URL_VARIABLE)
    if not named or named == OFF:
        return None
    return parse_webhook(named, URL_VARIABLE)


def parse_webhook(url: str, origin: str) -> Webhook:
    """The address ``url``, found in ``origin``.

    Raises:
        ConfigError: it is none. It is not shown then: any part of it may be a secret.
    """
    refusal = f"{origin} is no address to post to: expected {EXPECTED}, http or https"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(refusal) from None
    if parts.scheme not in ("http", "https") or not host or not url.strip().isascii():
        raise ConfigError(refusal)
    if any(character.isspace() or not character.isprintable() for character in url.strip()):
        raise ConfigError(refusal)
    if "@" in parts.netloc:
        raise ConfigError(
            f"{origin} names a user or a password before its host: expected {EXPECTED}, with a "
            "token in the path if there is one"
        )
    shown_host = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}"
    is_whole = parts.path in ("", "/") and not parts.query and not parts.fragment
    return Webhook(url.strip(), shown if is_whole else shown + _CUT)


def without_secret(url: str) -> str:
    """``url`` as it may be recorded; what is no address at all is not kept either."""
    if url == OFF or url.endswith(_CUT):
        return url
    try:
        return parse_webhook(url, "").shown
    except ConfigError:
        return _CUT


def is_cut(recorded: object) -> bool:
    """Whether ``recorded`` is an address that `without_secret` has made useless."""
    return isinstance(recorded, str) and recorded.endswith(_CUT)


def post(
    webhook: Webhook,
    body: bytes,
    *,
    timeout_s: float = _TIMEOUT_S,
    pauses_s: Sequence[float] = _PAUSES_S,
) -> None:
    """Post ``body``, a JSON.

    Args:
        webhook: where to.
        body: what.
        timeout_s: of each step of an attempt: connecting, and each wait for an answer.
        pauses_s: before each further attempt, made where that may help.

    Raises:
        ServiceUnavailable: it did not get there, or was not accepted; the message does not show
            the address.
    """
    for pause_s in (*pauses_s, None):
        try:
            return _post_once(webhook, body, timeout_s)
        except urllib.error.HTTPError as error:
            reason, is_passing = _answer(error), error.code in _PASSING
            error.close()
        except TimeoutError:
            reason, is_passing = f"no answer within {timeout_s:g} s", True
        except (OSError, HTTPException) as error:
            reason, is_passing = _trouble(error, timeout_s), True
        except ValueError:
            reason, is_passing = "an address that cannot be used", False
        if pause_s is None or not is_passing:
            raise ServiceUnavailable(reason)
        time.sleep(pause_s)
    return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Following one would lose what is posted, or carry it to somebody else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        return None


def _post_once(webhook: Webhook, body: bytes, timeout_s: float) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "walking-es"}
    request = urllib.request.Request(webhook.url, data=body, headers=headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirects)
    with opener.open(request, timeout=timeout_s):
        pass


def _answer(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        return f"it answered {error.code}, with another address: give that one"
    return f"it answered {error.code}"


def _trouble(error: Any, timeout_s: float) -> str:
    """What went wrong, without the address, which some messages of libraries have."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    said = getattr(reason, "strerror", None)
    return str(said).lower() if said else type(reason).__name__
