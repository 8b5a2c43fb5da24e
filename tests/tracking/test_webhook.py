from __future__ import annotations

import socket

import pytest
from http_listener import Answer, Listener, babble, drop, status

from errors import ConfigError, ServiceUnavailable
from tracking.webhook import find_webhook, is_cut, parse_webhook, post, without_secret

SECRET = "T0KEN"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's proxy would be asked for loopback."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


def deliver(url: str, *, timeout_s: float = 5.0, attempts: int = 3) -> None:
    webhook = parse_webhook(url, "notify")
    post(webhook, b'{"event":"completed"}', timeout_s=timeout_s, pauses_s=[0.0] * (attempts - 1))


def test_a_json_is_posted_once() -> None:
    with Listener() as listener:
        deliver(listener.url("/services/T0KEN?x=1"))
    assert listener.heard == [("/services/T0KEN?x=1", {"event": "completed"})]


@pytest.mark.parametrize("passing", [status(500), status(503), status(429), drop, babble])
def test_what_may_pass_is_tried_again(passing: Answer) -> None:
    with Listener(passing, passing, status(200)) as listener:
        deliver(listener.url())
    assert len(listener.heard) == 3


@pytest.mark.parametrize(
    ("answer", "attempts", "reason"),
    [
        (status(404), 1, "it answered 404"),
        (status(401), 1, "it answered 401"),
        (status(302, Location="http://127.0.0.1:9/SECRET"), 1, "it answered 302, with another"),
        (status(307, Location="http://127.0.0.1:9/SECRET"), 1, "it answered 307, with another"),
        (status(500), 3, "it answered 500"),
        (drop, 3, "RemoteDisconnected"),
        (babble, 3, "BadStatusLine"),
    ],
)
def test_what_does_not_pass_is_an_error_without_the_address(
    answer: Answer, attempts: int, reason: str
) -> None:
    with Listener(answer) as listener, pytest.raises(ServiceUnavailable) as refused:
        deliver(listener.url())
    assert str(refused.value).startswith(reason)
    assert len(listener.heard) == attempts
    assert "SECRET" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_address_that_never_answers_is_given_up() -> None:
    with Listener() as listener:
        listener.say(listener.hang)
        with pytest.raises(ServiceUnavailable, match=r"no answer within 0.2 s"):
            deliver(listener.url(), timeout_s=0.2, attempts=1)


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ServiceUnavailable, match="connection refused"):
        deliver(f"http://127.0.0.1:{port}/{SECRET}")
    with pytest.raises(ServiceUnavailable) as refused:
        deliver(f"http://no-such-host.invalid/{SECRET}")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/x", "https://hooks.example.com/..."),
        ("https://example.com/?key=x", "https://example.com/..."),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080/..."),
    ],
)
def test_only_the_host_is_shown_and_recorded(url: str, shown: str) -> None:
    webhook = parse_webhook(url, "notify")
    assert str(webhook) == without_secret(url) == shown
    assert url not in repr(webhook) or url == shown
    assert without_secret(shown) == shown
    assert is_cut(shown) == (shown != url)


@pytest.mark.parametrize(
    "url",
    [
        "T0KEN",
        "ftp://example.com/T0KEN",
        "file:///etc/T0KEN",
        "https:///T0KEN",
        "https://ada:T0KEN@example.com/",
        "https://example.com:T0KEN/",
        "https://example.com/T0 KEN",
        "https://[T0KEN",
        "https://exämple.com/T0KEN",
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^ES_NOTIFY_URL .*expected https://HOST/PATH"
    ) as refused:
        find_webhook(None, {"ES_NOTIFY_URL": url})
    assert SECRET not in str(refused.value)
    assert SECRET not in without_secret(url)


def test_the_command_line_counts_before_the_environment() -> None:
    environment = {"ES_NOTIFY_URL": "https://b.example.com"}
    given, named = "https://a.example.com", "https://b.example.com"
    assert find_webhook(None, {}) is None
    for told, found in ((given, given), (None, named), ("https://a.example.com/...", named)):
        webhook = find_webhook(told, environment)
        assert webhook is not None
        assert webhook.url == found
    assert find_webhook("off", environment) is None
    assert find_webhook("https://a.example.com/...", {}) is None
