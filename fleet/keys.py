"""Every key in Redis: type, who writes, who reads, how long it lives.

All begin with ``es:`` and, where they belong to a run, with its uid: runs never mix, and nothing
here ever needs FLUSHALL.

========================  ======  ==================  ==============  ============================
key                       type    written by          read by         lives
========================  ======  ==================  ==============  ============================
es:runs                   zset    head                workers         uid, scored by the head's
                                                                      last beat (Redis time)
es:machines               zset    supervisor          head            machine, scored by its last
                                                                      beat (Redis time)
es:machine:<id>           string  supervisor          head, status    `Heartbeat`; 15 s
es:<uid>:experiment       string  head                workers         the run
es:<uid>:open             string  head                workers         the run; open generations'
                                                                      numbers, oldest first
es:<uid>:generation:<n>   string  head                workers         while n is open
es:<uid>:tasks:<n>        list    head                workers         while n is open
es:<uid>:reissues:<n>     list    head                workers         while n is open
es:<uid>:records          list    workers,            head            the run; an hour unread
                                  supervisor
es:<uid>:crew             zset    workers             workers         worker, scored by when it last
                                                                      asked for work; an hour
========================  ======  ==================  ==============  ============================

A missing key means wait: the head writes its own again every second.
"""

from __future__ import annotations

PREFIX = "es:"
EVERYTHING = PREFIX + "*"
RUNS = PREFIX + "runs"
MACHINES = PREFIX + "machines"


def machine(machine_id: str) -> str:
    return f"{PREFIX}machine:{machine_id}"


def all_of(run_uid: str) -> str:
    """A pattern for every key of a run."""
    return f"{PREFIX}{run_uid}:*"


def experiment(run_uid: str) -> str:
    return f"{PREFIX}{run_uid}:experiment"


def open_generations(run_uid: str) -> str:
    return f"{PREFIX}{run_uid}:open"


def generation(run_uid: str, number: int) -> str:
    return f"{PREFIX}{run_uid}:generation:{number}"


def tasks(run_uid: str, number: int) -> str:
    return f"{PREFIX}{run_uid}:tasks:{number}"


def reissues(run_uid: str, number: int) -> str:
    return f"{PREFIX}{run_uid}:reissues:{number}"


def records(run_uid: str) -> str:
    return f"{PREFIX}{run_uid}:records"


def crew(run_uid: str) -> str:
    return f"{PREFIX}{run_uid}:crew"
