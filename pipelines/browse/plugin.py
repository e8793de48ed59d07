"""A plugin of the App, in the way FiftyOne provides for scripts of others: a legend, and the look of a first visit.

The script, `plugin.js`, shows the legend of the outcomes below the images. Before the App's page appears, it sets what
FiftyOne keeps in the browser and nowhere else: that the pop-up of its enterprise edition was seen, and which attributes
of labels are hidden in tooltips. Whoever changes these in the App keeps the change.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pipelines.browse.labels import NamedRun, label_types
from pipelines.browse.loading import Dataset
from pipelines.browse.views import OUTCOME_COLORS

_SCRIPT = Path(__file__).with_name("plugin.js")
_NAME = "panoptic"
_MANIFEST = f"name: '{_NAME}'\ntype: plugin\nversion: 1.0.0\ndescription: Legend of outcomes\njs_bundle: index.js\n"
_MEANINGS = {
    "matched": "right class, IoU above 0.5",
    "classification": "another class, IoU above 0.5",
    "localization": "right class, IoU from 0.1 to 0.5",
    "merging": "found by the network, lost in merging",
    "missed": "ground truth that was not found",
    "background": "prediction where there is nothing",
    "crowd": "ground truth that does not count",
    "ignored": "prediction mostly on void or crowd, which does not count",
}
# Rows that say nothing about a segment: FiftyOne's id of the label, where its mask is, and how it is drawn.
_HIDDEN = ("id", "mask_path", "closed", "filled", "index")


def write_plugin(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun], state: Path) -> Path:
    """Write the plugin below `state`, beside a link to the user's plugins, and return the folder of both."""
    plugins = state.resolve() / "plugins"
    shutil.rmtree(plugins, ignore_errors=True)
    (plugins / _NAME).mkdir(parents=True)
    (plugins / _NAME / "fiftyone.yml").write_text(_MANIFEST, encoding="utf-8")
    fields = [field for run in runs for field in label_types(fiftyone, run)]
    settings = {
        "outcomes": [_legend_entry(color) for color in dict.fromkeys(OUTCOME_COLORS.values())],
        "stored": {"fiftyone-enterprise-tooltip-seen": "true"}
        | {f"fo-hiddenLabels-{dataset.name}-{field}": ",".join(_HIDDEN) for field in fields},
    }
    script = f"({_SCRIPT.read_text(encoding='utf-8').strip()})({json.dumps(settings)});\n"
    (plugins / _NAME / "index.js").write_text(script, encoding="utf-8")
    own = Path(fiftyone.config.plugins_dir)
    if own.is_dir():
        (plugins / "own").symlink_to(own.resolve())
    return plugins


def _legend_entry(color: str) -> dict[str, str]:
    """All outcomes of one color: what is red is missed if an outline, background if filled."""
    names = [name for name, used in OUTCOME_COLORS.items() if used == color]
    meaning = "\n".join(f"{name}: {_MEANINGS[name]}" for name in names)
    return {"name": " / ".join(names), "color": color, "meaning": meaning}
