"""How often something that keeps dying is started again, and what is said of it."""

from __future__ import annotations

from fleet.restarts import MANY, WAITS_S, Restarts


def die(restarts: Restarts, times: int, every_s: float = 1.0, *, in_vain: bool = True) -> float:
    """So many deaths in a row; the time of the last."""
    for number in range(times):
        restarts.died(number * every_s, "no such file", in_vain=in_vain)
    return (times - 1) * every_s


def test_deaths_in_vain_wait_longer_and_longer() -> None:
    restarts = Restarts("the relay")
    waits_s = []
    for number in range(10):
        restarts.died(number, "x", in_vain=True)
        waits_s.append(restarts.start_at_s - number)
    assert waits_s == [*WAITS_S[1:], 10.0, 10.0, 10.0, 10.0]
    restarts.died(10, "x", in_vain=False)
    assert restarts.start_at_s == 10


def test_a_crash_loop_is_told_in_one_plain_line_and_only_once() -> None:
    restarts = Restarts("the relay")
    assert restarts.trouble(die(restarts, MANY - 1)) == ""
    assert restarts.news(3.0) == ""
    restarts.died(30.0, "no such file", in_vain=True)
    line = "the relay died 5 times in 30 s: no such file; trying again every 5 s"
    assert restarts.trouble(30.0) == line
    assert restarts.news(30.0) == line
    restarts.died(31.0, "no such file", in_vain=True)
    assert restarts.news(31.0) == ""
    assert "6 times" in restarts.trouble(31.0)


def test_what_stays_alive_is_no_trouble_any_more_and_may_be_again() -> None:
    restarts = Restarts("the relay")
    last_s = die(restarts, MANY)
    assert restarts.news(last_s)
    assert restarts.trouble(last_s + 200) == restarts.news(last_s + 200) == ""
    for number in range(MANY):
        restarts.died(last_s + 200 + number, "again", in_vain=False)
    assert restarts.news(last_s + 205).endswith("again; trying again at once")
