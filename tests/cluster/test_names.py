"""What clusters are called when nobody said."""

from __future__ import annotations

import re

import pytest

from cluster import names
from cluster.names import new_name, numbered, owner_name
from cluster.spec import ClusterSpec


def spec(name: str) -> ClusterSpec:
    return ClusterSpec(
        name=name, uid="0" * 32, owner="me", size=1, config=(), source="", created_s=0.0
    )


def test_every_word_is_a_name_that_a_cluster_may_have() -> None:
    words = names._WORDS
    assert len(words) == len(set(words)) > 300
    assert [spec(word).name for word in words] == list(words)


def test_a_new_name_is_nobody_elses_even_when_all_words_are_taken() -> None:
    words = names._WORDS
    assert new_name(set(words) - {"otter"}) == "otter"
    taken = set(words)
    for _ in range(50):
        name = new_name(taken)
        assert name not in taken
        assert spec(name).name == name
        taken.add(name)


def test_names_of_a_sweep_are_numbered_and_never_too_long() -> None:
    assert numbered("oak", 3) == "oak-3"
    long = numbered("a" * 32, 12)
    assert len(long) == 32
    assert long.endswith("a-12")
    assert spec(numbered("abc-" * 8, 7)).name.endswith("-7")


@pytest.mark.parametrize("user", ["ada", "DOMAIN\\Ada Lovelace", "ada@host.org", "...", "Ädä", ""])
def test_any_users_name_makes_an_owner(user: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", owner_name(user))
