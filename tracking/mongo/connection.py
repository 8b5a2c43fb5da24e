"""A checked way into MongoDB, and one line for whatever it answers instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

from errors import AccessRefused, ConfigError, EsError, ServiceUnavailable
from tracking.mongo.place import (
    EXPECTED,
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    URL_VARIABLE,
    MongoPlace,
)

PING_S = 2.0
OLDEST = "4.2"

Document = dict[str, Any]

_OPERATION_S = 30.0
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13


def open_client(place: MongoPlace) -> pymongo.MongoClient[Document]:
    """A client that has not asked for anything yet; to be closed.

    Nothing is retried unseen: whoever writes looks again at what is there.

    Raises:
        ConfigError: the URL or what it asks for cannot be.
    """
    # pymongo has no word for no password.
    secret: dict[str, Any] = {} if place.password is None else {"password": place.password}
    try:
        return pymongo.MongoClient(
            place.url,
            **secret,
            appname="walking-es",
            serverSelectionTimeoutMS=int(PING_S * 1000),
            connectTimeoutMS=int(PING_S * 1000),
            socketTimeoutMS=int(_OPERATION_S * 1000),
            maxPoolSize=4,
            retryReads=False,
            retryWrites=False,
        )
    except (PyMongoError, ValueError, OSError) as error:  # OSError: of a file of certificates
        raise in_words(error, place) from None


def check(client: pymongo.MongoClient[Document], place: MongoPlace) -> Database[Document]:
    """The database, on a server that answered within `PING_S` and lets us read it.

    Raises:
        EsError: as `in_words`.
    """
    with explained(place):
        client.admin.command("ping")
        database = client[place.database]
        # Anybody may ping; this asks whether we may read.
        database["runs"].find_one({}, {"_id": 1})
        return database


@contextmanager
def connected(place: MongoPlace) -> Iterator[Database[Document]]:
    """The database at ``place``, for as long as the block lasts.

    Raises:
        EsError: as `in_words`, also for what fails within the block.
    """
    with open_client(place) as client:
        database = check(client, place)
        with explained(place):
            yield database


@contextmanager
def explained(place: MongoPlace) -> Iterator[None]:
    """Turn what pymongo raises within into one line of ours."""
    try:
        yield
    except PyMongoError as error:
        raise in_words(error, place) from None


def in_words(error: Exception, place: MongoPlace) -> EsError:
    """What ``error`` means for people.

    Returns:
        ConfigError: a URL that cannot be; AccessRefused: another user, password or database is
        wanted; ServiceUnavailable: no server answers, it is too old, or it refuses what was asked.
    """
    at = f"MongoDB at {place}"
    reason = _first_line(error)
    if isinstance(error, ConfigurationError | ValueError) and "wire version" in reason:
        return ServiceUnavailable(f"{at} is too old: expected MongoDB {OLDEST} or newer ({reason})")
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return AccessRefused(
            f"{at} refuses the password of user {place.user}: expected it in {PASSWORD_VARIABLE}, "
            f"{PASSWORD_FILE_VARIABLE} or {URL_VARIABLE}; a user of another database needs "
            "?authSource=THAT in the URL"
        )
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        if place.user is None:
            return AccessRefused(
                f"{at} wants a user and a password: name the user in the URL, as in {EXPECTED}, "
                f"and put the password into {PASSWORD_VARIABLE}"
            )
        return AccessRefused(
            f"{at} does not let user {place.user} use database {place.database}: name another "
            "database in the URL, or have the user granted readWrite on it"
        )
    if isinstance(error, ConnectionFailure | InvalidOperation):
        return ServiceUnavailable(
            f"no MongoDB at {place} ({_why_not_reached(reason)}): start it, or correct "
            f"mongo_url or {URL_VARIABLE}"
        )
    if isinstance(error, ConfigurationError | ValueError | OSError):
        return ConfigError(f"{at} cannot be used ({reason}): expected a URL such as {EXPECTED}")
    return ServiceUnavailable(f"{at} refuses what was asked of it ({reason}): see its log")


def _why_not_reached(reason: str) -> str:
    """The heart of pymongo's description of all that it tried."""
    found = re.search(
        r"Connection refused|timed out|Name or service not known|No route to host|"
        r"Network is unreachable|Temporary failure in name resolution|SSL handshake failed|"
        r"Connection reset by peer|connection closed|No replica set members|not primary",
        reason,
        re.IGNORECASE,
    )
    if found is None and "No servers found yet" in reason:
        return "timed out"  # on a machine so busy that no single attempt has
    return found[0].lower() if found else reason.partition(" (configured timeouts")[0][:200]


def _first_line(error: Exception) -> str:
    said = str(error).partition(", full error:")[0]
    return " ".join(said.split())[:400] or type(error).__name__
