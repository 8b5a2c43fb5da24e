"""How often something that keeps dying is started again, and what is said of it."""

from __future__ import annotations

from fleet.machine.restarts import MANY, WAITS_S, Restarts


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
    for number in range(MANY - 1):
        assert restarts.died(number, "no file", in_vain=True) == "the relay died: no file"
    assert restarts.trouble(4.0) == ""
    line = "the relay died 5 times in 30 s: no file; trying again every 5 s"
    assert restarts.died(30.0, "no file", in_vain=True) == line
    assert restarts.trouble(30.0) == line
    assert restarts.died(31.0, "no file", in_vain=True) == ""
    assert "6 times" in restarts.trouble(31.0)


def test_what_stays_alive_is_no_trouble_any_more_and_may_be_again() -> None:
    restarts = Restarts("the relay")
    first = [restarts.died(number, "once", in_vain=True) for number in range(MANY)]
    assert restarts.trouble(200) == ""
    again = [restarts.died(200 + number, "again", in_vain=False) for number in range(MANY)]
    assert first[-1].endswith("once; trying again every 5 s")
    assert again[:-1] == ["the relay died: again"] * (MANY - 1)
    assert again[-1].endswith("again; trying again at once")
