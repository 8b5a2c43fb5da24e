"""What EC2 tells a machine of itself, by its metadata service (IMDSv2: with tokens only)."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from errors import ServiceUnavailable

ENDPOINT = "http://169.254.169.254"
_TOKEN_PATH = "api/token"
_TTL_S = 21_600
_RENEW_S = _TTL_S / 2
_TIMEOUT_S = 2.0
_TRIES = 3
_MOST_BYTES = 2**16
_GONE = 404
_REFUSED = 401
# The service is this machine's own: what proxies a user has set does not concern it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class InstanceMetadata:
    """A client of the service.

    Args:
        endpoint: its address.
        timeout_s: for each of a few tries.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: str = ENDPOINT,
        *,
        timeout_s: float = _TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = f"{endpoint.rstrip('/')}/latest/"
        self._timeout_s = timeout_s
        self._clock = clock
        self._token = ""
        self._token_s = 0.0

    def get(self, path: str) -> str | None:
        """What is at ``path`` below ``/latest/meta-data/``; None: nothing.

        Raises:
            ServiceUnavailable: the service does not answer.
        """
        for attempt in range(_TRIES):
            try:
                return self._get(path)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == _GONE:
                    return None
                if error.code == _REFUSED:
                    self._token = ""
                said = str(error)
            except (OSError, http.client.HTTPException) as error:
                said = str(error)
            if attempt < _TRIES - 1:
                time.sleep(0.1 * 2**attempt)
        raise ServiceUnavailable(
            f"the metadata service at {self._base} does not answer ({said}): is this a machine of "
            "EC2, with IMDSv2 on?"
        )

    def needed(self, path: str) -> str:
        """The same of what every machine has.

        Raises:
            ServiceUnavailable: it is not there.
        """
        found = self.get(path)
        if not found:
            raise ServiceUnavailable(f"the metadata service has no {path}: is this EC2?")
        return found

    def _get(self, path: str) -> str:
        if not self._token or self._clock() - self._token_s > _RENEW_S:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TTL_S)}
            self._token = self._ask("PUT", _TOKEN_PATH, lifetime)
            self._token_s = self._clock()
        return self._ask("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self._base + path, method=method, headers=headers)
        with _OPENER.open(request, timeout=self._timeout_s) as answer:
            return str(answer.read(_MOST_BYTES).decode(errors="replace"))
