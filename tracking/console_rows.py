"""The rows of the console's panel: facts side by side, as many as a line holds."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from tracking.cost import Cost
from tracking.figures import counted


def fitness_row(facts: Mapping[str, str]) -> list[Text]:
    """What theta, the candidates, and the best of them are worth."""
    current = Text(f"current {facts['current']}", style="bold green")
    return [current, Text(f"mean {facts['mean']}"), Text(f"best {facts['best']}")]


def fleet_row(facts: Mapping[str, str]) -> list[Text]:
    """Who is there: a fleet's machines are counted, a lone one goes without saying."""
    workers = Text(counted(int(facts["workers"]), "worker"))
    who = [Text(facts["machines"]), workers] if facts["is_many"] else [workers]
    return [*who, Text(facts["busy"])] if facts["busy"] else who


def work_row(facts: Mapping[str, str]) -> list[Text]:
    """How fast it goes, and what went wrong on the way."""
    failed = Text(f"{facts['failed']} failed", style="" if facts["failed"] == "0" else "red")
    return [Text(f"{facts['rate']} steps/s"), failed, Text(f"{facts['reissued']} reissued")]


def cost_row(cost: Cost) -> list[Text]:
    """What was paid, of what may be, and how fast it grows."""
    budget = "" if cost.budget_usd is None else f" of {cost.budget_usd:.2f}"
    spent = Text(f"{cost.usd:.2f}{budget} USD", style="red" if cost.is_used_up else "")
    return [spent, Text(f"{cost.usd_per_hour:.2f} USD/h")]


def time_row(facts: Mapping[str, str]) -> list[Text]:
    """Since when, and until when."""
    if facts["is_over"]:
        return [Text(f"{facts['elapsed']} elapsed")]
    left = "time left unknown" if facts["left"] == "-" else f"about {facts['left']} left"
    return [Text(f"{facts['elapsed']} elapsed"), Text(left)]


def flowing(parts: list[Text], room: int) -> Text:
    """``parts`` side by side, each whole, on as many lines of ``room`` columns as they need."""
    text, column = Text(), 0
    for part in parts:
        if column and column + 3 + len(part) > room:
            text.append("\n")
            column = 0
        elif column:
            text.append("   ")
            column += 3
        text.append_text(part)
        column += len(part)
    return text
