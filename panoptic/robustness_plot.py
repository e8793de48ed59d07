"""PQ against severity as a picture: one panel for each kind of corruption, so that lines can be told apart."""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from panoptic.corruptions import GROUPS
from panoptic.robustness import Robustness

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind too
_MARKERS = ("o", "s", "^", "D")


def draw_severities(robustness: Robustness) -> bytes:
    """A PNG file; severity 0 is clean. The grey line, the same in all panels, is the mean over all corruptions."""
    kinds = {kind: names for kind, names in GROUPS.items() if set(names) & set(robustness.corruptions)}
    # Not by pyplot, which keeps figures alive and asks for a screen.
    figure = Figure(figsize=(3.4 * len(kinds), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0])
    for panel, (kind, names) in zip(panels, kinds.items(), strict=True):
        _line(
            panel, robustness, [robustness.mean_pq(level) for level in robustness.severities], "mean of all", "0.6", ""
        )
        for name, color, marker in zip(names, _COLORS, _MARKERS, strict=True):
            if name in robustness.corruptions:
                values = [robustness.pq(name, level) for level in robustness.severities]
                _line(panel, robustness, values, name.replace("_", " "), color, marker)
        panel.set_title(kind)
        panel.set_xlabel("severity")
        panel.set_xticks([0, *robustness.severities], ["clean", *map(str, robustness.severities)])
        panel.set_ylim(bottom=0)
        panel.grid(axis="y", color="0.9")
        panel.spines[["top", "right"]].set_visible(False)
        # Below the panel: inside, some line would always run through it.
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize="small")
    panels[0].set_ylabel("PQ (percent)")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()


def _line(panel: Axes, robustness: Robustness, values: list[float | None], label: str, color: str, marker: str) -> None:
    """A line from the clean quality over those at each severity; unknown ones leave a gap."""
    clean = robustness.clean["pq"]["all"]
    heights = [float("nan") if value is None else 100 * value for value in (clean, *values)]
    panel.plot([0, *robustness.severities], heights, color=color, marker=marker, markersize=5, label=label)
