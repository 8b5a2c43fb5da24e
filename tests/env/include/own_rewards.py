"""Reward functions as users write them, good and bad."""

import math


def forward(moment):
    """One number: how fast forward."""
    return moment.distance_m - 0.01


def in_terms(moment):
    """Two terms, one of which the environment has too."""
    return {"alive": 2 * moment.terms["alive"], "lazy": -float(moment.action.sum())}


class _Progress:
    """Remembers where it was, and forgets it when an episode begins."""

    def __call__(self, moment):
        if moment.time_s == 0:
            self.before_m = moment.distance_m
        gained = moment.distance_m - self.before_m
        self.before_m = moment.distance_m
        return gained


progress = _Progress()


def raises(moment):
    """Two lines of trouble."""
    raise KeyError("no such muscle\nsecond line")


def nothing(moment):
    """Forgets to return."""


def empty(moment):
    return {}


def text(moment):
    return "1.0"


def truth(moment):
    return True


def infinite(moment):
    return {"speed": 1.0, "height": math.inf}


def bad_later(moment):
    """Is found out only by running."""
    return math.nan if moment.time_s > 0 else 0.0


not_a_function = 3
