"""The saved views of a dataset, whose names make their addresses, and the initial look of labels in the App."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from panoptic.error_browser.entries import FALSE_NEGATIVES, FALSE_POSITIVES
from pipelines.browse.labels import Document, NamedRun, label_types
from pipelines.browse.loading import SMALL_AREA, Dataset

_CONFUSIONS = 5  # pairs of classes that get a view
OUTCOME_COLORS: Mapping[str, str] = {
    "matched": "#2e9e4f",
    "classification": "#e8890c",
    "localization": "#e5c100",
    "merging": "#8b5cf6",
    "missed": "#d62728",
    "background": "#d62728",
    "crowd": "#808080",
    "ignored": "#808080",
}
"""In the order of the legend."""
_OPACITY = 0.6  # of what is filled
# Under white and black text, which the App takes by its theme, and of no outcome.
_SUMMARY_COLORS = {str(severity): "#7480d0" if severity else "#78879a" for severity in range(6)}


@dataclass(frozen=True)
class SavedView:
    """A saved view; its slug is part of its address, as in `?view=worst-pq`."""

    slug: str
    description: str


def save_views(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> list[SavedView]:
    """Save all views that the dataset has images for, replacing earlier ones of the same names."""
    field = fiftyone.ViewField
    clean = dataset.match(field("severity") == 0)
    views: dict[str, tuple[Any, str]] = {
        "worst-pq": (clean.exists("pq").sort_by("pq"), "all images, the lowest PQ first"),
        "confident-mistakes": (
            clean.filter_labels("prediction", field("outcome").is_in(FALSE_POSITIVES))
            .exists("most_confident_mistake")
            .sort_by("most_confident_mistake", reverse=True),
            "predicted things that are wrong, the most confident first",
        ),
        "small-things-missed": (
            clean.filter_labels(
                "ground_truth", field("outcome").is_in(FALSE_NEGATIVES) & (field("area") < SMALL_AREA)
            ).sort_by("small_things_missed", reverse=True),
            f"ground truth things below {SMALL_AREA} pixels that were missed, images with most of them first",
        ),
    }
    pairs = Counter(pair for pairs in clean.values("confusions") for pair in pairs or ())
    for pair, count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_CONFUSIONS]:
        gt, _, predicted = pair.partition(" -> ")
        views[f"confused {gt} for {predicted}"] = (
            _only_confused(fiftyone, clean.match(field("confusions").contains(pair)), gt, predicted),
            f"{gt} mistaken for {predicted}, {count} times; other things are hidden",
        )
    corrupted = dataset.match(field("severity") > 0)
    if corrupted.count():
        views["most-hurt"] = (
            corrupted.exists("pq_lost_to_corruption").sort_by("pq_lost_to_corruption", reverse=True),
            "corrupted images, those that lost most PQ to their corruption first",
        )
        image_ids = corrupted.distinct("image_id")
        order = dataset.match(field("image_id").is_in(image_ids)).sort_by("key")
        views["all-variants"] = (
            order.group_by("image_id", order_by="key"),
            "one tile per image; opened, it steps through all corruptions and severities",
        )
    for other in runs[1:]:
        gain = field(f"pq{other.suffix}") - field("pq")
        views[f"worse-in-{other.name}"] = (
            clean.exists("pq").exists(f"pq{other.suffix}").sort_by(gain),
            f"images on which {other.name} is worse than {runs[0].name}, the largest difference first",
        )
    for name in set(dataset.info.get("views", [])) - views.keys():
        if dataset.has_saved_view(name):
            dataset.delete_saved_view(name)
    saved = []
    for name, (view, description) in views.items():
        dataset.save_view(name, view, description=description, overwrite=True)
        slug = dataset._get_saved_view_doc(name).slug
        saved.append(SavedView(slug, description))
    dataset.info["views"] = sorted(views)
    dataset.save()
    return saved


def _only_confused(fiftyone: ModuleType, images: Dataset, gt: str, predicted: str) -> Dataset:
    """Hide all things but those of class `gt` that were mistaken for `predicted`, on both sides."""
    field = fiftyone.ViewField
    # A thing that merging dropped is mistaken for another all the same.
    for side, label, other, outcomes in (
        ("ground_truth", gt, predicted, FALSE_NEGATIVES),
        ("prediction", predicted, gt, ("classification",)),
    ):
        confused = (field("label") == label) & (field("other_label") == other) & field("outcome").is_in(outcomes)
        images = images.filter_labels(side, confused, only_matches=False)  # they may be stuff
    return images


def arrange_app(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> None:
    """Offer overlays as media, show things and the summary at first, and give each outcome a color."""
    config = dataset.app_config
    config.media_fields = ["filepath", *(f"overlay{run.suffix}" for run in runs)]
    names = ("prediction", "ground_truth", "summary", "confusions")
    shown = [f"{name}{run.suffix}" for run in runs for name in names]
    config.active_fields = fiftyone.ActiveFields(paths=shown)
    config.sidebar_groups = _sidebar(fiftyone, dataset)
    config.color_scheme = _colors(fiftyone, dataset, runs)
    dataset.save()


def _colors(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> Document:
    """The colors of outcomes, summaries, confusions and classes of stuff."""
    colors: list[dict[str, object]] = []
    for run in runs:
        for path, labels in label_types(fiftyone, run).items():
            if labels is fiftyone.Classifications:
                colors.append(_by_value(path, "severity", _SUMMARY_COLORS))
            elif labels is not fiftyone.Segmentation:
                colors.append(_by_value(path, "outcome", OUTCOME_COLORS))
        confusions = f"confusions{run.suffix}"
        orange = dict.fromkeys(dataset.distinct(confusions), OUTCOME_COLORS["classification"])
        colors.append(_by_value(confusions, None, orange))
    stuff = [
        {"intTarget": category.label, "color": "#{:02x}{:02x}{:02x}".format(*category.color)}
        for category in runs[0].run.categories.values()
        if not category.is_thing
    ]
    return fiftyone.ColorScheme(color_by="value", fields=colors, default_mask_targets_colors=stuff, opacity=_OPACITY)


def _by_value(path: str, attribute: str | None, colors: Mapping[str, str]) -> dict[str, object]:
    values = [{"value": value, "color": color} for value, color in colors.items()]
    return {"path": path, "colorByAttribute": attribute, "valueColors": values}


def _sidebar(fiftyone: ModuleType, dataset: Dataset) -> list[Any]:
    """Arrange the sidebar: tags and labels, then scores; fields that only name an image are folded away."""
    groups = fiftyone.DatasetAppConfig.default_sidebar_groups(dataset)
    fields = [path for path in dataset.get_field_schema() if path not in ("id", "filepath", "metadata", "tags")]
    labels = {path for group in groups if group.name == "labels" for path in group.paths}
    naming = [
        path
        for path in fields
        if path in ("key", "file_name", "created_at", "last_modified_at") or path.startswith("overlay")
    ]
    scores = [path for path in fields if path not in labels and path not in naming]
    other = ["id", "filepath", *naming]
    kept = [group for group in groups if group.name in ("tags", "labels")]
    make = fiftyone.SidebarGroupDocument
    return [*kept, make(name="scores", paths=scores), make(name="names", paths=other, expanded=False)]
