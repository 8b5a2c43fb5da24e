"""Which MongoDB runs are recorded in, and the way into it: given, or found where people keep it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from errors import ConfigError
from fleet.security.private_files import read_secret

OFF = "off"
URL_VARIABLE = "ES_MONGO_URL"
PASSWORD_VARIABLE = "ES_MONGO_PASSWORD"
PASSWORD_FILE_VARIABLE = "ES_MONGO_PASSWORD_FILE"
DEFAULT_DATABASE = "sacred"
EXPECTED = "mongodb://USER@HOST:27017/sacred?authSource=admin"

_SCHEMES = ("mongodb", "mongodb+srv")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(:\d{1,5})?")
_SECRET_OPTIONS = {
    "authmechanismproperties",  # AWS_SESSION_TOKEN among them
    "proxypassword",
    "sslpempassphrase",
    "ssl_pem_passphrase",
    "tlscertificatekeyfilepassword",
}
_MAX_BYTES = 4096


@dataclass(frozen=True)
class MongoPlace:
    """A database of a MongoDB.

    Attributes:
        url: of the server, options included, without a password. Not to be shown: an option of
            one that no command line named may be secret.
        database: its name.
        user: ``None`` where nobody has to say who they are.
        password: never shown.
    """

    url: str
    database: str = DEFAULT_DATABASE
    user: str | None = None
    password: str | None = None

    @property
    def url_with_password(self) -> str:
        """For what cannot be told the password otherwise; never for a command line."""
        if self.user is None or self.password is None:
            return self.url
        scheme, _, rest = self.url.partition("://")
        return (
            f"{scheme}://{quote(self.user, '')}:{quote(self.password, '')}@"
            + (rest.partition("@")[2])
        )

    def __str__(self) -> str:
        """``HOST:PORT/DATABASE``, for people."""
        return f"{urlsplit(self.url).netloc.rpartition('@')[2]}/{self.database}"

    def __repr__(self) -> str:
        """Without the URL's options, which may be secret."""
        return f"MongoPlace({self}, user={self.user!r})"


def find_mongo(url: str | None = None) -> MongoPlace | None:
    """The place that a command line names, else the environment, else a file; ``None``: nobody
    named one. For the edges only.

    ``ES_MONGO_URL`` and the file ``walking-es/mongo-url`` among the user's settings may hold a
    password; a command line may not. One that is not in the URL comes from ``ES_MONGO_PASSWORD``,
    the file that ``ES_MONGO_PASSWORD_FILE`` names, or the URL in ``walking-es/mongo-url`` if it is
    about the same user and server. ``off`` as a URL means none, whatever else is said.

    Args:
        url: of the command line; ``None`` or empty: it has none.

    Raises:
        ConfigError: a URL that is none of MongoDB's, one with a password on a command line, a
            file that cannot be read or that others can read, no password for a named user.
    """
    named, origin = (url, "mongo_url") if url else (os.environ.get(URL_VARIABLE), URL_VARIABLE)
    if url:
        refuse_password_in(url)
    in_file = None if named else _in_file()
    found = named or in_file
    if not found or found == OFF:
        return None
    place = parse_place(found, origin if named else str(url_file()))
    if place.user is None or place.password is not None:
        return place
    password = _password_of(place)
    if password is None:
        raise ConfigError(
            f"no password for {place.user} of MongoDB at {place}: put it into {PASSWORD_VARIABLE}, "
            f"or into a file of mode 0600 that {PASSWORD_FILE_VARIABLE} names"
        )
    return MongoPlace(place.url, place.database, place.user, password)


def refuse_password_in(url: str) -> None:
    """Refuse a URL of a command line, which every user of the machine can read, with a password
    or an option that is as good as one.

    Raises:
        ConfigError: it has one, or cannot be read.
    """
    if url == OFF:
        return
    place = parse_place(url, "mongo_url")
    if secret := _secret_options(place.url):
        raise ConfigError(
            f"mongo_url for {place} came with {' and '.join(secret)}, which everyone on this "
            f"machine can read on a command line: put the whole URL into {URL_VARIABLE}, or into "
            f"{url_file()} with mode 0600"
        )
    if place.password is not None:
        raise ConfigError(
            f"mongo_url={place.url} came with a password, which everyone on this machine can read "
            f"on a command line: expected it in {PASSWORD_VARIABLE}, in a file of mode 0600 that "
            f"{PASSWORD_FILE_VARIABLE} names, or in {URL_VARIABLE}"
        )


def parse_place(url: str, origin: str) -> MongoPlace:
    """What ``url`` says, its password apart.

    Args:
        url: ``mongodb://`` or ``mongodb+srv://``.
        origin: where it was found, for people.

    Raises:
        ConfigError: it is no such URL. It is not shown then: any part of it may be a password.
    """
    refusal = ConfigError(
        f"{origin} is not a URL of MongoDB: expected {EXPECTED}, with %40 for @, %2F for / and "
        "%3A for : in a name or a password"
    )
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise refusal from None
    who, _, hosts = parts.netloc.rpartition("@")
    user, _, password = who.partition(":")
    database = unquote(parts.path.strip("/")) or DEFAULT_DATABASE
    rest = f"{who}{password.replace(':', '@')}{parts.path}{parts.query}{parts.fragment}"
    are_hosts = all(_HOST.fullmatch(host) for host in hosts.split(","))
    if parts.scheme not in _SCHEMES or not are_hosts or "@" in rest or parts.fragment:
        raise refusal
    if set(database) & set('/\\. "$*<>:|?'):
        raise ConfigError(
            f"{origin} names a database that MongoDB cannot have: expected letters, digits, _ "
            f"and -, as in {EXPECTED}"
        )
    shown = SplitResult(
        parts.scheme, f"{user}@{hosts}" if user else hosts, parts.path, parts.query, ""
    )
    _check_options(shown.geturl(), origin, refusal)
    return MongoPlace(
        shown.geturl(),
        database,
        unquote(user) or None,
        unquote(password) if user and password else None,
    )


def url_file() -> Path:
    """Where a user keeps the URL for good: ``~/.config/walking-es/mongo-url``."""
    settings = os.environ.get("XDG_CONFIG_HOME")
    base = Path(settings) if settings else Path.home() / ".config"
    return base / "walking-es" / "mongo-url"


def _check_options(url: str, origin: str, refusal: ConfigError) -> None:
    if url.startswith("mongodb+srv:"):
        return  # reading it would ask a name server; whoever connects does
    # pymongo takes a tenth of a second to load, and most commands have no MongoDB.
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    try:
        parse_uri(url, validate=True, warn=False)
    except OSError as error:  # of a file of certificates
        raise ConfigError(
            f"{origin} names {error.filename}, which cannot be read ({error.strerror}): name "
            "another file, or leave the option out"
        ) from None
    except (PyMongoError, ValueError) as error:
        if _secret_options(url):
            raise refusal from None  # pymongo may repeat what it did not understand
        reason = " ".join(str(error).split())
        raise ConfigError(f"{refusal} ({reason})") from None


def _secret_options(url: str) -> list[str]:
    """Names of those options of ``url`` whose values nobody else may read."""
    options = re.split("[&;]", urlsplit(url).query)
    names = [unquote(option.partition("=")[0]) for option in options]
    return [name for name in names if name.casefold() in _SECRET_OPTIONS]


def _password_of(place: MongoPlace) -> str | None:
    given = os.environ.get(PASSWORD_VARIABLE)
    if given:
        return given
    named = os.environ.get(PASSWORD_FILE_VARIABLE)
    if named:
        return read_secret(Path(named))
    text = _in_file()
    kept = parse_place(text, str(url_file())) if text and text != OFF else None
    if kept is None or (kept.user, _server(kept)) != (place.user, _server(place)):
        return None
    return kept.password


def _server(place: MongoPlace) -> str:
    return urlsplit(place.url).netloc


def _in_file() -> str | None:
    path = url_file()
    return read_secret(path, "file of MongoDB's URL", _MAX_BYTES) if path.exists() else None
