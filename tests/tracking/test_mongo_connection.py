from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pymongo
import pytest
from mongo_compare import unused_port
from old_mongod import OldMongod
from pymongo.errors import ServerSelectionTimeoutError

from errors import AccessRefused, ConfigError, EsError, ServiceUnavailable
from tracking.mongo.connection import PING_S, connected, in_words
from tracking.mongo.mongod_binary import mongod_binary
from tracking.mongo.place import MongoPlace, parse_place
from tracking.mongo.server import MongoServer
from tracking.mongo.tied_process import TiedProcess


def refusal(place: MongoPlace) -> EsError:
    """What is said of ``place``, in one line and without a password."""
    with pytest.raises(EsError) as refused, connected(place):
        raise AssertionError("it let us in")
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 500
    assert not place.password or place.password not in said
    return refused.value


def test_a_wrong_password_and_an_unknown_user_are_refused(place: MongoPlace) -> None:
    error = refusal(replace(place, password="guessed-it"))
    assert type(error) is AccessRefused
    assert "refuses the password of user es" in str(error)
    assert "ES_MONGO_PASSWORD" in str(error)
    url = place.url.replace("es@", "eve@")
    assert "of user eve" in str(refusal(replace(place, url=url, user="eve")))


def test_a_user_of_another_database_is_told_about_authsource(place: MongoPlace) -> None:
    url = place.url.partition("?")[0]
    error = refusal(replace(place, url=url))
    assert type(error) is AccessRefused
    assert "?authSource=" in str(error)


def test_no_user_where_one_is_wanted_says_how_to_name_one(mongod: MongoServer) -> None:
    error = refusal(parse_place(f"mongodb://127.0.0.1:{mongod.port}/sacred", "test"))
    assert type(error) is AccessRefused
    assert "wants a user and a password" in str(error)


@pytest.fixture
def own_database_only(mongod: MongoServer, tmp_path: Path) -> Iterator[MongoPlace]:
    """A user who may use the database ``mine`` alone, on a server of somebody else's."""
    port = unused_port()
    options = ["--auth", "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    cache = ["--wiredTigerCacheSizeGB", "0.25"]
    with (tmp_path / "log").open("wb") as log:
        server = TiedProcess(
            [mongod_binary(), "--dbpath", str(tmp_path), *options, *cache], tmp_path, log
        )
    try:
        roles = [{"role": "readWrite", "db": "mine"}]
        with pymongo.MongoClient("127.0.0.1", port) as client:
            client.admin.command("createUser", "root", pwd="root", roles=["root"])
        with pymongo.MongoClient("127.0.0.1", port, username="root", password="root") as client:
            client.admin.command("createUser", "own", pwd="secret", roles=roles)
        place = parse_place(f"mongodb://own@127.0.0.1:{port}/mine?authSource=admin", "test")
        yield replace(place, password="secret")
    finally:
        server.kill()


def test_a_database_that_the_user_may_not_use_is_named(own_database_only: MongoPlace) -> None:
    with connected(own_database_only) as database:
        assert database["runs"].count_documents({}) == 0
    error = refusal(replace(own_database_only, database="another"))
    assert type(error) is AccessRefused
    assert "use database another" in str(error)


def test_an_older_server_is_named_with_what_is_expected() -> None:
    with OldMongod() as old:
        error = refusal(parse_place(f"mongodb://127.0.0.1:{old.port}/sacred", "test"))
    assert type(error) is ServiceUnavailable
    assert "is too old: expected MongoDB 4.2 or newer" in str(error)


def test_where_nothing_listens_it_takes_two_seconds_to_say_so() -> None:
    place = parse_place(f"mongodb://127.0.0.1:{unused_port()}/sacred", "test")
    began_s = time.monotonic()
    error = refusal(place)
    assert time.monotonic() - began_s < 5 * PING_S
    assert type(error) is ServiceUnavailable
    assert f"no MongoDB at {place} (connection refused): start it" in str(error)


def test_a_server_that_accepts_and_says_nothing_is_waited_for_two_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = parse_place(f"mongodb://127.0.0.1:{silent.getsockname()[1]}/x", "test")
        began_s = time.monotonic()
        error = refusal(place)
        assert time.monotonic() - began_s < 5 * PING_S
    assert "timed out" in str(error)


def test_a_name_that_nobody_knows_is_said_to_be_one() -> None:
    error = refusal(parse_place("mongodb://no-such-host.invalid/sacred", "test"))
    assert type(error) is ServiceUnavailable
    assert "no-such-host.invalid" in str(error)


def test_a_user_without_a_password_is_one_line(place: MongoPlace) -> None:
    assert isinstance(refusal(replace(place, password=None)), ConfigError | ServiceUnavailable)


def test_a_file_of_certificates_that_holds_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    error = refusal(parse_place(f"mongodb://host/x?tls=true&tlsCAFile={tmp_path}/none.pem", "test"))
    assert isinstance(error, ConfigError)
    assert "MongoDB at host/x cannot be used" in str(error)


def test_where_no_attempt_had_ended_it_timed_out() -> None:
    error = ServerSelectionTimeoutError("No servers found yet, Timeout: 2.0s, Topology: <...>")
    said = str(in_words(error, parse_place("mongodb://host/x", "test")))
    assert said.startswith("no MongoDB at host/x (timed out): ")
