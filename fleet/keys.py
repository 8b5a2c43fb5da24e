"""Every key in Redis: type, who writes, who reads, how long it lives.

All begin with ``es:`` and, where they belong to a run, with its uid: runs never mix, and nothing
here ever needs FLUSHALL. A relay's own Redis has the same keys with the same meaning: to the
workers behind it, it is the head's.

========================  ======  ==================  ==============  ============================
key                       type    written by          read by         lives
========================  ======  ==================  ==============  ============================
es:runs                   zset    head                relays,         uid, scored by the head's
                                                      workers         last beat (Redis time)
es:machines               zset    supervisor, relay   head, status    machine, scored by its last
                                                                      beat (Redis time)
es:machine:<id>           string  supervisor, relay   head, status    `Heartbeat`; 15 s
es:<uid>:head             string  head                heads, status   `HeadToken`: who is at work on
                                                                      the run; 5 s
es:<uid>:experiment       string  head                relays, workers the run
es:<uid>:open             string  head                relays, workers the run; open generations'
                                                                      numbers, oldest first; empty
                                                                      for a minute after its end
es:<uid>:generation:<n>   string  head                relays, workers while n is open
es:<uid>:tasks:<n>        list    head                relays, workers while n is open
es:<uid>:reissues:<n>     list    head                relays, workers while n is open
es:<uid>:records          list    workers, relays,    head            the run; an hour unread
                                  supervisors
es:<uid>:crew             zset    relays, workers,    relays, workers worker, scored by when it last
                                  supervisors                         asked for work; the head drops
                                                                      who has not lately
es:<uid>:report           string  head                status          `RunReport`; an hour
es:relay                  string  relay               the same relay  in a relay's own Redis only:
                                                                      its lock, and the proof that
                                                                      nothing was lost there; 5 s
========================  ======  ==================  ==============  ============================

A missing key means wait: the head writes its own again every second. What lives as long as its run
outlives a head that was killed by a day.
"""

from __future__ import annotations

PREFIX = "es:"
EVERYTHING = PREFIX + "*"
RUNS = PREFIX + "runs"
MACHINES = PREFIX + "machines"
RELAY = PREFIX + "relay"


def machine(machine_id: str) -> str:
    return f"{PREFIX}machine:{machine_id}"


def all_of(run_uid: str) -> str:
    """A pattern for every key of a run."""
    return f"{PREFIX}{run_uid}:*"


def head(run_uid: str) -> str:
    return f"{PREFIX}{run_uid}:head"


def report(run_uid: str) -> str:
    return f"{PREFIX}{run_uid}:report"


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
