from __future__ import annotations

from pathlib import Path

import pytest

from errors import ConfigError
from tracking.mongo.place import MongoPlace, find_mongo, parse_place, refuse_password_in

URL = "mongodb://ada@db.example:27018/lab?authSource=admin"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ES_MONGO_URL")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "walking-es" / "mongo-url"


def keep(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_nobody_named_one() -> None:
    assert find_mongo(None) is None


def test_a_command_line_counts_before_the_environment_and_that_before_the_file(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(settings, "mongodb://in-file/lab\n")
    assert find_mongo(None) == MongoPlace("mongodb://in-file/lab", "lab")
    monkeypatch.setenv("ES_MONGO_URL", "mongodb://in-environment")
    assert find_mongo(None) == MongoPlace("mongodb://in-environment", "sacred")
    assert find_mongo("mongodb://here/x") == MongoPlace("mongodb://here/x", "x")
    assert find_mongo("off") is None
    monkeypatch.setenv("ES_MONGO_URL", "off")
    assert find_mongo(None) is None


@pytest.mark.parametrize("way", ["variable", "file", "url", "settings"])
def test_a_password_is_found_where_nobody_else_reads_it(
    way: str, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: str | None = URL
    if way == "variable":
        monkeypatch.setenv("ES_MONGO_PASSWORD", "p@ss/word")
    elif way == "file":
        file = keep(tmp_path / "password", "p@ss/word\n")
        monkeypatch.setenv("ES_MONGO_PASSWORD_FILE", str(file))
    elif way == "url":
        monkeypatch.setenv("ES_MONGO_URL", URL.replace("ada@", "ada:p%40ss%2Fword@"))
        given = None
    else:
        keep(settings, URL.replace("ada@", "ada:p%40ss%2Fword@"))
    place = find_mongo(given)
    assert place == MongoPlace(URL, "lab", "ada", "p@ss/word")
    assert "word" not in f"{place!r} {place}"
    assert str(place) == "db.example:27018/lab"


def test_the_settings_password_is_for_its_own_user_and_server(settings: Path) -> None:
    keep(settings, URL.replace("ada@", "ada:secret@"))
    for other in (URL.replace("ada", "eve"), URL.replace("db.", "evil.")):
        with pytest.raises(ConfigError, match=r"no password for (ada|eve) .* ES_MONGO_PASSWORD"):
            find_mongo(other)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_file_that_others_can_read_is_refused(settings: Path, mode: int) -> None:
    keep(settings, URL, mode)
    with pytest.raises(ConfigError, match=r"can be read by others .* `chmod 600"):
        find_mongo(None)


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n", "x" * 5000])
def test_a_file_that_is_not_one_line_is_refused(settings: Path, text: str) -> None:
    keep(settings, text)
    with pytest.raises(ConfigError, match="expected one"):
        find_mongo(None)


def test_a_password_file_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_MONGO_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"none cannot be read \(No such file"):
        find_mongo(URL)


def test_a_password_on_a_command_line_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"everyone on this machine can read") as refused:
        find_mongo(URL.replace("ada@", "ada:hunter2@"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://host/db",
        "db.example:27017",
        "mongodb://",
        "mongodb://u:hunter2/x@host/db",
        "mongodb://u:hunter2#x@host/db",
        "mongodb://u:hunter2?x@host/db",
        "mongodb://u:hunter2@x@host/db",
        "mongodb://u:hun:ter2@host/db",
        "mongodb://u:hunter2",
        "mongodb://host:99999999/db",
        "mongodb://host:70000/db",
        "mongodb://[::1/db",
        "mongodb://host/db?serverSelectionTimeoutMS=soon",
        "mongodb://host/db?nonsense=1",
    ],
)
def test_what_is_no_url_of_mongodb_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"mongo_url is not a URL of MongoDB") as refused:
        refuse_password_in(url)
    assert "hun" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_certificates_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ES_MONGO_URL", f"mongodb://host/x?tlsCAFile={tmp_path}/none.pem")
    with pytest.raises(ConfigError, match=r"ES_MONGO_URL names .*none\.pem, which cannot be read"):
        find_mongo(None)


@pytest.mark.parametrize(
    "options",
    [
        "tlsCertificateKeyFilePassword=hunter2",
        "tls=true&TLSCERTIFICATEKEYFILEPASSWORD=hunter2",
        "tls=true;tlsCertificateKeyFilePassword=hunter2",
        "authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:hunter2",
    ],
)
def test_a_secret_option_is_refused_on_a_command_line_and_never_shown(
    options: str, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"mongodb://host/x?{options}"
    with pytest.raises(ConfigError, match=r"everyone on this machine can read") as refused:
        find_mongo(url)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigError, match="can read on a command line"):
        find_mongo("mongodb+srv://cluster.example/x?sslPEMPassphrase=hunter2")
    keep(settings, url)
    in_file = find_mongo(None)
    monkeypatch.setenv("ES_MONGO_URL", url)
    place = find_mongo(None)
    assert place == in_file
    assert place is not None
    assert place.url == url
    assert "hunter2" not in f"{place} {place!r}"


def test_a_token_that_pymongo_does_not_understand_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "ES_MONGO_URL", "mongodb://host/x?authMechanismProperties=AWS_SESSION_TOKEN:a,hunter2:b"
    )
    with pytest.raises(ConfigError, match="is not a URL of MongoDB") as refused:
        find_mongo(None)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.b", "a b", "a%2Fb", "$x", "a*b"])
def test_a_database_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a database that MongoDB cannot have"):
        parse_place(f"mongodb://host/{name}", "mongo_url")


def test_several_servers_and_a_socket_are_urls_too() -> None:
    assert str(parse_place("mongodb://a:1,b:2/x?replicaSet=r", "x")) == "a:1,b:2/x"
    assert parse_place("mongodb://%2Ftmp%2Fm.sock/x", "x").database == "x"
    assert parse_place("mongodb+srv://ada@cluster.example/x", "x").user == "ada"
