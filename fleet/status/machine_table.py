"""Machines and their workers as a table of a given size, the troubled first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fleet.figures import age_text, count_text, memory_text, plural
from fleet.heartbeat import WorkerBeat
from fleet.status.overview import Machine, Overview
from fleet.status.text_layout import OF_SEVERITY, dotted, fitted, names_of, said

_COLUMNS = (
    ("up", 6), ("run", 5), ("rollouts", 9), ("steps/s", 8), ("memory", 8), ("failed", 7),
    ("deaths", 7),
)  # fmt: skip
_DOING_WIDTH = 15
_LEAST_NAME_WIDTH = 12


def machine_table(overview: Overview, width: int, room: int) -> list[Text]:
    """A summary, a heading, and machines in at most ``room`` lines altogether."""
    machines = overview.machines
    if not machines:
        return []
    lines = [_summary(overview)]
    room -= 2
    names = names_of(machines)
    # In a window too narrow for all, the last columns are cut off.
    widest = max(_LEAST_NAME_WIDTH, width - sum(size for _, size in _COLUMNS) - _DOING_WIDTH)
    name_width = min(widest, max(_LEAST_NAME_WIDTH, max(map(cell_len, names)) + 2))
    folded = [
        [_machine(overview, machine, name, name_width), *_error(machine, width)]
        for machine, name in zip(machines[: max(1, room)], names, strict=False)
    ]
    full = sum(1 + len(machine.workers) for machine in machines)
    full += sum(bool(worker.last_error or worker.refusal) for m in machines for worker in m.workers)
    if full + sum(bool(machine.last_error) for machine in machines) <= room:
        folded = [
            _unfolded(overview, machine, name, name_width, width)
            for machine, name in zip(machines, names, strict=True)
        ]
    lines.append(_heading(name_width))
    for count, block in enumerate(folded):
        is_last = count + 1 == len(machines)
        if len(block) > room - (not is_last):
            break
        lines += block
        room -= len(block)
    else:
        count = len(folded)
    if count < len(machines):
        lines.append(_rest(machines[count:]))
    return lines


def _summary(overview: Overview) -> Text:
    workers = overview.workers
    steps = sum(worker.env_steps_per_s for worker in workers)
    busy = sum(machine.num_busy for machine in overview.machines)
    silent = sum(machine.is_silent for machine in overview.machines)
    known = sum(len(machine.workers) for machine in overview.machines)
    machines = plural(len(overview.machines), "machine")
    parts: list[str | Text] = [
        Text(f"{machines}, {plural(known, 'worker')}", "bold"),
        f"{overview.num_up} up, {busy} busy",
        f"{count_text(steps)} steps/s",
        memory_text(sum(worker.rss_mb for worker in workers)),
    ]
    if silent:
        parts.append(Text(f"{silent} silent", "red"))
    return dotted(parts)


def _heading(name_width: int) -> Text:
    cells = "".join(f"{name:>{size}}" for name, size in _COLUMNS)
    return Text(f"{'':<{name_width}}{cells}  doing", "dim")


def _machine(overview: Overview, machine: Machine, name: str, name_width: int) -> Text:
    workers = machine.workers
    busy_s = [worker.doing_s for worker in workers if worker.doing_s is not None]
    doing = f"{len(busy_s)} busy, {age_text(max(busy_s))}" if busy_s else "waits"
    if any(worker.refusal for worker in workers):
        doing = f"{sum(bool(worker.refusal) for worker in workers)} refuse"
    if machine.is_silent:
        doing = f"silent {age_text(machine.silence_s)}"
    served = sorted({overview.run_name(worker.run_uid) for worker in workers if worker.run_uid})
    return _row(
        (name, f"bold {OF_SEVERITY[machine.severity]}"),
        name_width,
        f"{machine.num_up}/{len(workers)}",
        "+".join(served),
        workers,
        (doing, "red" if machine.severity > 2 else ""),
    )


def _worker(overview: Overview, machine: Machine, worker: WorkerBeat, name_width: int) -> Text:
    doing, style = "waits", ""
    if machine.is_silent:
        doing, style = "unknown", "dim"
    elif not worker.is_up:
        doing, style = "no process", "red"
    elif worker.refusal:
        doing, style = "refuses", "red"
    elif worker.doing_s is not None:
        doing = f"rollout {age_text(worker.doing_s)}"
    short = worker.worker.removeprefix(machine.name).lstrip("-") or worker.worker
    return _row(
        (f"  worker {short}", ""),
        name_width,
        "up" if worker.is_up else "down",
        overview.run_name(worker.run_uid),
        [worker],
        (doing, style),
    )


def _row(
    name: tuple[str, str],
    name_width: int,
    up: str,
    run: str,
    workers: Sequence[WorkerBeat],
    doing: tuple[str, str],
) -> Text:
    failures = sum(worker.failures for worker in workers)
    deaths = sum(worker.deaths for worker in workers)
    cells = (
        (up, ""),
        (run, ""),
        (count_text(sum(worker.rollouts for worker in workers)), ""),
        (count_text(sum(worker.env_steps_per_s for worker in workers)), ""),
        (memory_text(sum(worker.rss_mb for worker in workers)), ""),
        (count_text(failures), "yellow" if failures else "dim"),
        (count_text(deaths), "yellow" if deaths else "dim"),
    )
    row = Text()
    row.append(set_cell_size(fitted(name[0], name_width - 1), name_width), name[1])
    for (cell, style), (_, size) in zip(cells, _COLUMNS, strict=True):
        row.append(" ")
        row.append(f"{fitted(cell, size - 1):>{size - 1}}", style)
    return row.append("  ").append(*doing)


def _unfolded(
    overview: Overview, machine: Machine, name: str, name_width: int, width: int
) -> list[Text]:
    """A machine's line, one for each worker, and everything that went wrong, once."""
    lines = [_machine(overview, machine, name, name_width)]
    already = {"", machine.last_error}
    if machine.last_error:
        lines.append(said(machine.last_error, width))
    for worker in machine.workers:
        lines.append(_worker(overview, machine, worker, name_width))
        error = worker.refusal or worker.last_error
        if error not in already:
            already.add(error)
            lines.append(said(error, width))
    return lines


def _error(machine: Machine, width: int) -> list[Text]:
    """What is wrong there, the weightiest first, in one line."""
    refusals = [worker.refusal for worker in machine.workers]
    errors = [worker.last_error for worker in machine.workers]
    troubles = list(dict.fromkeys(filter(None, [*refusals, machine.last_error, *errors])))
    if not troubles:
        return []
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    return [said(troubles[0], width, more)]


def _rest(machines: Sequence[Machine]) -> Text:
    """The machines that there is no room for."""
    troubled = sum(machine.severity > 0 for machine in machines)
    workers = sum(len(machine.workers) for machine in machines)
    state = f"{troubled} of them in trouble" if troubled else "all well"
    return Text(
        f"and {plural(len(machines), 'more machine')}, {plural(workers, 'worker')}, {state}",
        "yellow" if troubled else "dim",
    )
