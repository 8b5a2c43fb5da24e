"""Several runs side by side: figures of what their configurations come to over their seeds."""

from __future__ import annotations

from collections.abc import Sequence

from tracking.reporting.axes import AXES, Axis
from tracking.reporting.charts import bands_chart, dots_chart
from tracking.reporting.figures_of_run import FigureParts, Plot
from tracking.reporting.groups import FEW_SEEDS, Band, Group, band, final_scores, value_text
from tracking.reporting.legend import line_entry
from tracking.reporting.palette import Stroke, stroke
from tracking.reporting.svg import SvgMaker

_LONGEST_LABEL = 60


def comparison_figures(groups: Sequence[Group], make: SvgMaker) -> list[FigureParts]:
    """One figure for each environment: fitnesses of others do not compare."""
    strokes = {group.letter: stroke(number) for number, group in enumerate(groups)}
    figures = []
    for env_name in dict.fromkeys(group.env_name for group in groups):
        of_env = [group for group in groups if group.env_name == env_name]
        figure = _figure(env_name, of_env, [strokes[group.letter] for group in of_env], make)
        if figure is not None:
            figures.append(figure)
    return figures


def scores_figure(groups: Sequence[Group], make: SvgMaker) -> FigureParts | None:
    """Final fitness run by run; ``None`` where no run has one, or environments differ."""
    meaning, scores = final_scores(groups)
    if not meaning or len({group.env_name for group in groups}) > 1:
        return None
    rows = [
        (group.letter, stroke(number), score_s)
        for number, (group, score_s) in enumerate(zip(groups, scores, strict=True))
    ]
    drawing = make.both(
        dots_chart(rows, x_label="fitness (reward)"),
        says="Final fitness of each run",
        height=lambda size: 66 + 24 * len(rows),
    )
    caption = f"A dot a run, {meaning}; the bar is their median."
    return FigureParts("Final fitness run by run", caption, [], [Plot("", drawing)])


def _figure(
    env_name: str, groups: Sequence[Group], looks: Sequence[Stroke], make: SvgMaker
) -> FigureParts | None:
    runs = [run for group in groups for run in group.runs]
    is_validated = all(run.metrics["fitness/current"] for run in runs if run.metrics.columns)
    metric = "fitness/current" if is_validated else "fitness/mean"
    plots = [plot for axis in AXES if (plot := _plot(groups, looks, axis, metric, make))]
    if not plots:
        return None
    return FigureParts(
        env_name,
        f"Fitness of {'theta, validated' if is_validated else 'the candidates, mean'}. "
        + _spread_words(groups),
        [line_entry(look, label_of(group)) for group, look in zip(groups, looks, strict=True)],
        plots,
    )


def _plot(
    groups: Sequence[Group], looks: Sequence[Stroke], axis: Axis, metric: str, make: SvgMaker
) -> Plot | None:
    found: list[tuple[Band, Stroke]] = []
    for group, look in zip(groups, looks, strict=True):
        curve = band(group, axis, metric)
        if curve is not None:
            found.append((curve, look))
    if not found:
        return None
    largest = max(float(x[-1]) for curve, _ in found for x, _ in curve.seeds)
    divisor, label = axis.unit(largest)
    draw = bands_chart(found, x_label=label, y_label="fitness (reward)", divisor=divisor)
    return Plot(axis.name, make.both(draw, says=f"Fitness of the runs, by {axis.title}"))


def _spread_words(groups: Sequence[Group]) -> str:
    sizes = {len(group.runs) for group in groups}
    if sizes == {1}:
        return "One run each: nothing is said about chance."
    words = "Thick: the median over seeds, as far as all of them got; thin: each seed"
    if max(sizes) >= FEW_SEEDS:
        words += "; band: the quartiles"
        if min(sizes) < FEW_SEEDS:
            words += f" (of fewer than {FEW_SEEDS} seeds: least and greatest)"
    else:
        words += "; band: least and greatest"
    return words + "."


def label_of(group: Group) -> str:
    """Its letter, its seeds, and where that is short, what it does otherwise."""
    seeds = f"{len(group.runs)} seed{'s' if len(group.runs) > 1 else ''}"
    settings = " ".join(f"{name}={value_text(value)}" for name, value in group.settings.items())
    if not settings or len(settings) > _LONGEST_LABEL:
        return f"{group.letter}: {seeds}"
    return f"{group.letter}: {settings}, {seeds}"
