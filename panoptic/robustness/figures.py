"""Figures of the quality under corruption."""

import io
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from panoptic.robustness.summary import Robustness

# Distinguishable with color blindness, too (Okabe and Ito); a larger group starts over with other pairs of the two.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def png_file(figure: Figure) -> bytes:
    """Draw a figure as a PNG file; equal figures give equal bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def severity_figure(robustness: Robustness) -> Figure:
    """Draw a panel for each group, where severity 0 is clean. The gray line in all of them is the mean of all."""
    groups = robustness.groups
    # Not by pyplot, which keeps figures alive and looks for a screen.
    figure = Figure(figsize=(3.4 * len(groups), 4.2), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0])
    for panel, group in zip(panels, groups, strict=True):
        _draw_group(panel, robustness, group)
    panels[0].set_ylabel("PQ (percent)")
    # Once all lines are drawn: it also fixes the top, of all panels.
    panels[0].set_ylim(bottom=0)
    return figure


def group_figures(robustness: Robustness) -> dict[str, Figure]:
    """Draw the panels of `severity_figure` as figures of their own, by group, with the same limits."""
    figures = {group: Figure(figsize=(5.6, 4.4), layout="constrained") for group in robustness.groups}
    panels = {group: figure.add_subplot(ylabel="PQ (percent)") for group, figure in figures.items()}
    for group, panel in panels.items():
        _draw_group(panel, robustness, group)
    top = max((panel.get_ylim()[1] for panel in panels.values()), default=1.0)
    for panel in panels.values():
        panel.set_ylim(0, top)
    return figures


def _draw_group(panel: Axes, robustness: Robustness, group: str) -> None:
    means = [robustness.mean_pq(level) for level in robustness.severities]
    _line(panel, robustness, means, "mean of all", "0.6", "")
    for name, color, marker in zip(robustness.groups[group], cycle(COLORS), cycle(_MARKERS), strict=False):
        if name in robustness.corruptions:
            values = [robustness.pq(name, level) for level in robustness.severities]
            _line(panel, robustness, values, name.replace("_", " "), color, marker)
    panel.set_title(group)
    panel.set_xlabel("severity")
    panel.set_xticks([0, *robustness.severities], ["clean", *map(str, robustness.severities)])
    panel.grid(axis="y", color="0.9")
    panel.spines[["top", "right"]].set_visible(False)
    # Below the panel: inside, some line would always cross it.
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize="small")


def _line(panel: Axes, robustness: Robustness, values: list[float | None], label: str, color: str, marker: str) -> None:
    """Draw a line from the clean quality through those at each severity; unknown ones leave a gap."""
    clean = robustness.clean["pq"]["all"]
    heights = [float("nan") if value is None else 100 * value for value in (clean, *values)]
    panel.plot([0, *robustness.severities], heights, color=color, marker=marker, markersize=5, label=label)
