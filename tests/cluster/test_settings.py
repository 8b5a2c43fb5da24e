"""Options before the environment, the environment before the file, and no secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.aws.settings import AwsSettings
from cluster.settings import Chosen, LaunchSettings, check_variables, merged, read_settings
from errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path


def write(folder: Path, text: str, place: str = "here") -> Chosen:
    (folder / place / "cluster.toml").write_text(text)
    return read_settings({}, folder / "here", folder / "home")


def test_an_option_is_before_the_environment_which_is_before_the_file_which_is_before_defaults(
    folder: Path,
) -> None:
    chosen = write(folder, "size = 2\nmax_hours = 3\nowner = 'ada'\n")
    variables = {"WALKING_ES_SIZE": "4", "WALKING_ES_MAX_HOURS": "5.5"}
    found = merged(LaunchSettings, chosen, variables, {"size": 6, "keep": None})
    assert (found.size, found.max_hours, found.owner, found.keep) == (6, 5.5, "ada", False)


def test_the_file_of_the_folder_is_before_that_of_the_home_and_a_named_one_before_both(
    folder: Path,
) -> None:
    chosen = write(folder, "size = 2\n", "home")
    assert chosen.path == folder / "home" / "cluster.toml"
    assert write(folder, "size = 3\n").common == {"size": 3}
    (folder / "mine.toml").write_text("size = 4\n")
    named = {"WALKING_ES_SETTINGS": str(folder / "mine.toml")}
    assert read_settings(named, folder / "here", folder / "home").common == {"size": 4}


def test_without_a_file_there_are_defaults(folder: Path) -> None:
    chosen = read_settings({}, folder / "here", folder / "home")
    assert merged(LaunchSettings, chosen, {}, {}) == LaunchSettings()
    assert LaunchSettings().provider == "aws"


def test_a_providers_settings_are_a_table_and_lists_in_variables_have_commas(
    folder: Path,
) -> None:
    chosen = write(folder, "[aws]\nregion = 'eu-central-1'\nvolume_gb = 50\n")
    variables = {"WALKING_ES_WORKER_TYPES": "c7i.large, c6i.large", "WALKING_ES_SPOT": "false"}
    found = merged(AwsSettings, chosen, variables, {}, table="aws")
    assert (found.region, found.volume_gb) == ("eu-central-1", 50)
    assert (found.worker_types, found.spot) == (("c7i.large", "c6i.large"), False)


def both(folder: Path, text: str) -> tuple[LaunchSettings, AwsSettings]:
    chosen = write(folder, text)
    return merged(LaunchSettings, chosen, {}, {}), merged(AwsSettings, chosen, {}, {}, table="aws")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max_hour = 3\n", "unknown setting 'max_hour'; did you mean max_hours"),
        ("[aws]\nregoin = 'x'\n", r"unknown setting 'regoin' of table \[aws\]; did you mean regi"),
        ("[awss]\nregion = 'x'\n", r"unknown table \[awss\]; did you mean aws"),
        ("size = 'two'\n", "size='two': expected `int`, got `str`"),
        ("size = \n", r"cluster\.toml cannot be read"),
        ("mongo_url = 'mongodb://me:pw@host'\n", "mongo_url is a secret"),
        ("redis_password = 'pw'\n", "redis_password is a secret"),
        ("[aws]\naws_secret_access_key = 'x'\n", "aws_secret_access_key is a secret"),
        ("[aws]\nimage_id = 'x'\n", "image_id='x': expected an image's id"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        both(folder, text)
    assert "\n" not in str(refused.value)
    assert "pw" not in str(refused.value).replace("redis_password", "")


def test_a_variable_that_cannot_be_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="WALKING_ES_SIZE='many': expected `int`"):
        merged(LaunchSettings, Chosen(None, {}, {}), {"WALKING_ES_SIZE": "many"}, {})


def test_a_misspelt_variable_is_refused_and_the_ones_about_other_things_are_not() -> None:
    kinds = (LaunchSettings, AwsSettings)
    check_variables(
        {"WALKING_ES_HOME": "x", "WALKING_ES_REGION": "x", "WALKING_ES_MONGO_URL": "x"}, *kinds
    )
    with pytest.raises(ConfigError, match="WALKING_ES_REGOIN; did you mean WALKING_ES_REGION"):
        check_variables({"WALKING_ES_REGOIN": "x"}, *kinds)
