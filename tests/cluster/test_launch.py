"""``cluster/launch.py``: what it takes, what it refuses, what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cluster.commands.desk import Desk
from cluster.commands.interruption import second_thoughts
from cluster.commands.sweeping import combinations
from cluster.launch import checked_words, cli, whole_address, whole_mongo_url
from errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

OLDER = [
    "--size=5",
    "--workers_per_machine=8",
    "--config=lander lr=0.01",
    "--key_name=mine",
    "--cluster_name=oak",
    "--master_type=m5.large",
    "--worker_type=c5.2xlarge",
    "--owner=ada",
    "--image_id=ami-0123456789abcdef0",
    "--bucket_name=my-bucket",
    "--worker_command=true",
]
"""Every option of the older system's launch."""

OURS = [
    "--experiment=nevergrad",
    "--mongo_url=mongodb://host",
    "--notify=https://hooks.example.com/T0KEN",
    "--max_hours=2",
    "--budget_usd=3",
    "--keep",
    "--no_keep",
    "--on_demand",
    "--spot",
    "--on_demand_base=1",
    "--max_price=0.3",
    "--region=eu-central-1",
    "--profile=mine",
    "--subnet_ids=subnet-01234567,subnet-89abcdef",
    "--volume_gb=40",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings, clusters or credentials but those of the test."""
    for name in list(os.environ):
        if name.startswith(("WALKING_ES_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WALKING_ES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, ["launch", *words])


def dry(*words: str) -> Result:
    return invoke("--provider=local", "--dry_run", *words)


def refused(result: Result) -> str:
    assert isinstance(result.exception, ConfigError), result.output
    text = str(result.exception)
    assert "\n" not in text
    return text


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(tmp_path: Path) -> None:
    said = dry("--size=2", "--config=lander num_generations=20", "--cluster_name=oak").output
    assert "oak: es lander num_generations=20" in said
    assert "1 head and 2 worker machines of this machine" in said
    assert "ends itself with its run, or after 24 h" in said
    assert "costs nothing" in said
    assert said.endswith("nothing was made\n")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("spelling", [str, lambda word: word.replace("_", "-")])
def test_every_option_is_taken_in_both_spellings(spelling: type[str]) -> None:
    for words in (OLDER, OURS):
        names = [word.partition("=")[0] for word in words]
        given = [
            spelling(name) + word[len(name) :] for name, word in zip(names, words, strict=True)
        ]
        result = dry(*given)
        assert result.exception is None, result.output
    assert "for AWS only, left aside here: region, profile, subnet_ids, spot" in result.output


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("landr", "unknown config 'landr'; did you mean lander"),
        ("lander lrr=1", "unknown option 'lrr'; did you mean lr"),
        ("lander lr=fast", "option lr: Expected `float`, got `str`"),
        ("lander sigma=-1", "sigma"),
        ("lander tool_option.elitist=True", "unknown option 'tool_option'"),
        ("lander resume=3", "resume=3 is a run of this machine"),
        ("lander load_from=3", "load_from=3 is a run of this machine"),
        ("lander redis_url=redis://x", "redis_url= is the cluster's to say"),
        ("lander mongo_url=mongodb://x/y", "mongo_url= is the cluster's to say"),
        ("lander notify=https://x/T0KEN", "give it as --notify=URL"),
        ("lander ray_address=auto", "ray_address=auto is for pool=ray, and this run has pool=red"),
        ("lander ray_dashboard=True", "ray_dashboard=True is for pool=ray"),
        ("lander tool_options.elitist=True", "is for Nevergrad's tools, not for tool=openai_es"),
        ("lander lr=1 lr.x=2", "cannot read the settings `lr=1 lr.x=2`"),
        ("missing.yml", r"missing\.yml cannot be read"),
        ("lander 'lr=1", "no closing quotation"),
    ],
)
def test_a_config_that_no_experiment_takes_is_refused_at_once(config: str, why: str) -> None:
    text = refused(dry(f"--config={config}"))
    with pytest.raises(ConfigError, match=why):
        raise ConfigError(text)


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1e9"])
def test_a_cluster_ends_within_a_year(hours: str) -> None:
    text = refused(dry(f"--max_hours={hours}"))
    assert text.endswith("expected hours above 0, at most 8784 (a year)")
    assert dry("--max_hours=8784").exception is None


@pytest.mark.parametrize("usd", ["0", "-1", "nan", "inf"])
def test_a_budget_is_a_number_of_dollars(usd: str) -> None:
    text = refused(dry(f"--budget_usd={usd}"))
    assert text.endswith("expected dollars above 0; leave it out for none")


def test_a_mongodbs_password_travels_in_secret_and_is_on_no_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert whole_mongo_url("mongodb://host/x") == "mongodb://host/x"
    text = refused(dry("--mongo_url=mongodb://ada:hunter2@host/x"))
    assert "everyone on this machine can read" in text
    assert "hunter2" not in text
    assert "no password for ada" in refused(dry("--mongo_url=mongodb://ada@host/x"))
    assert "is not a URL of MongoDB" in refused(dry("--mongo_url=host"))
    whole = "mongodb://ada:p%40ss%2Fword@host/x?tls=true"
    monkeypatch.setenv("WALKING_ES_MONGO_URL", whole)
    assert dry().exception is None
    assert whole_mongo_url(whole) == whole
    monkeypatch.setenv("ES_MONGO_PASSWORD", "p@ss/word")
    for name in ("ada@host/x?tls=true", "ada@host/x"):
        bare = f"mongodb://{name}"
        assert whole_mongo_url(bare) == bare.replace("ada", "ada:p%40ss%2Fword")
        monkeypatch.setenv("WALKING_ES_MONGO_URL", bare)
        assert whole_mongo_url(bare) == bare.replace("ada", "ada:p%40ss%2Fword")


def test_an_address_to_tell_is_checked_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = refused(dry("--notify=hooks.example.com/T0KEN"))
    assert "notify is no address to post to" in text
    assert "T0KEN" not in text
    monkeypatch.setenv("ES_NOTIFY_URL", "ftp://hooks.example.com/T0KEN")
    assert "is no address to post to" in refused(dry())
    assert whole_address("https://hooks.example.com/T0KEN") == "https://hooks.example.com/T0KEN"


def test_off_is_carried_as_a_word_which_the_experiment_understands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert whole_mongo_url("off") == "off"
    assert whole_address("off") == "off"
    monkeypatch.setenv("WALKING_ES_MONGO_URL", "off")
    assert whole_mongo_url("off") == "off"
    assert dry().exception is None


def test_a_settings_file_stays_here_and_its_settings_travel(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("lr: 0.1\nhidden_sizes: [8, 8]\nnetwork: linear\n")
    assert checked_words("es", ["lander", "mine.yml", "seed=3"]) == [
        "lander",
        "lr=0.1",
        "hidden_sizes=[8, 8]",
        "network='linear'",
        "seed=3",
    ]


@pytest.mark.parametrize(
    ("words", "come_out"),
    [
        (["lr=0.3", "mine.yml"], ["lr=0.3"]),
        (["lr=0.3", "mine.yml", "lr=0.4"], ["lr=0.4"]),
        (["mine.yml", "sphere"], ["sphere", "lr=0.1"]),
        (["sphere", "mine.yml"], ["sphere", "lr=0.5"]),
        (["mine.yml", "other.json", "seed=3"], ["lr=0.001", "env_options={'a': 1}", "seed=3"]),
        (["env_options.b=2", "other.json"], ["lr=0.001", "env_options={'a': 1, 'b': 2}"]),
        (["env_options.b=2", "mine.yml"], ["lr=0.5", "env_options.b=2"]),
    ],
)
def test_what_is_said_twice_comes_out_as_in_a_run_on_this_machine(
    tmp_path: Path, words: list[str], come_out: list[str]
) -> None:
    (tmp_path / "mine.yml").write_text("lr: 0.5\n")
    (tmp_path / "other.json").write_text('{"lr": 1e-3, "env_options": {"a": 1}}')
    assert checked_words("es", words) == come_out


def test_nevergrads_configs_and_evaluations_are_taken_as_they_are() -> None:
    words = ["walk", "tool=TwoPointsDE", "tool_options.x=1"]
    assert checked_words("nevergrad", words) == words
    words = ["walk", "tool_options.elitist=True"]
    assert checked_words("nevergrad", words) == words, "CMA unasked"
    words = ["--gait=examples/gaits/walk2d.json", "--episodes=5"]
    assert checked_words("evaluate", words) == words


def test_an_evaluation_of_what_the_cluster_does_not_have_is_refused() -> None:
    words = ["--episodes", "5", "12"]
    with pytest.raises(ConfigError, match=r"12 is a run of this machine.*--gait=FILE"):
        checked_words("evaluate", words)
    assert checked_words("evaluate", words, "mongodb://host") == words
    one_run = ("--experiment=evaluate", "--config=12")
    assert "12 is a run of this machine" in refused(dry(*one_run))
    assert "12 is a run of this machine" in refused(dry(*one_run, "--mongo_url=off"))
    assert dry(*one_run, "--mongo_url=mongodb://host").exception is None
    for neither in ([], ["12", "--gait=x.json"]):
        with pytest.raises(ConfigError, match="needs --config='--gait=FILE OPTIONS'"):
            checked_words("evaluate", neither, "mongodb://host")
    with pytest.raises(ConfigError, match=r"No such option.*--episods"):
        checked_words("evaluate", ["--gait=x.json", "--episods=5"])


def test_what_stands_after_with_may_begin_with_it() -> None:
    assert ": es lander lr=0.1" in dry("--config=with lander lr=0.1").output


def test_settings_come_from_the_file_and_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster.toml").write_text("provider = 'local'\nsize = 3\nconfig = 'sphere'\n")
    monkeypatch.setenv("WALKING_ES_MAX_HOURS", "1.5")
    said = invoke("--dry_run").output
    assert "3 worker machines" in said
    assert ": es sphere" in said
    assert "after 1.5 h" in said


def test_nothing_is_made_unasked_where_nobody_can_be_asked(tmp_path: Path) -> None:
    result = invoke("--provider=local", "--config=sphere")
    assert "say --yes if you mean it" in refused(result)
    assert not (tmp_path / "home").exists()


def test_without_credentials_a_dry_run_says_in_one_line_what_is_missing() -> None:
    said = subprocess.run(
        [sys.executable, ROOT / "cluster" / "launch.py", "launch", "--dry_run"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("error: no AWS credentials were found: ")
    assert said.stderr.count("\n") == 1


def test_commands_for_this_machine_wait_for_neither_boto3_nor_numpy() -> None:
    program = (
        "import sys, cluster.launch, cluster.manage; from cluster.local import provider; "
        "print({'boto3', 'botocore', 'numpy', 'torch', 'sacred'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == "set()\n"


def test_an_archive_is_the_same_each_time(tmp_path: Path) -> None:
    first = CliRunner().invoke(cli, ["compress", "--out", str(tmp_path / "a")])
    second = CliRunner().invoke(cli, ["compress", "--out", str(tmp_path / "b")])
    assert first.exception is second.exception is None
    (one,), (two,) = (list((tmp_path / name).iterdir()) for name in "ab")
    assert one.name == two.name
    assert str(one) in first.output


def interrupted_three_times() -> None:
    with second_thoughts("oak"):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGHUP)


def test_the_first_interruption_interrupts_and_further_ones_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        interrupted_three_times()
    assert capsys.readouterr().err.count("oak is being removed: wait") == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_sweep_is_every_combination() -> None:
    assert combinations(["seed=1,2", "lr=0.1,0.2"]) == [
        "seed=1 lr=0.1",
        "seed=1 lr=0.2",
        "seed=2 lr=0.1",
        "seed=2 lr=0.2",
    ]
    for wrong in ("seed", "seed=", "=1", "seed=1,,2"):
        with pytest.raises(ConfigError, match="expected NAME=VALUE,VALUE"):
            combinations([wrong])
    with pytest.raises(ConfigError, match="1000 clusters, expected at most 100"):
        combinations([f"{name}=" + ",".join("0123456789") for name in "abc"])


def test_an_owner_is_the_user_unless_said(tmp_path: Path) -> None:
    def owner(variables: dict[str, str], **options: str) -> str:
        desk = Desk(variables, tmp_path, tmp_path, ROOT, checked_words)
        return desk.settings(options).owner

    assert owner({}) != ""
    assert owner({"WALKING_ES_OWNER": "bob"}) == "bob"
    assert owner({"WALKING_ES_OWNER": "bob"}, owner="ada") == "ada"
