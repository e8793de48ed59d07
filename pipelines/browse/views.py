"""The saved views of a dataset, whose names make their addresses, and the initial look of labels in the App."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from panoptic.error_browser.entries import FALSE_NEGATIVES, FALSE_POSITIVES
from pipelines.browse.loading import SMALL_AREA, Dataset, NamedRun, color_of

_CONFUSIONS = 5  # pairs of classes that get a view
_OUTCOME_COLORS = {
    "matched": "#2e9e4f",
    "merging": "#8b5cf6",
    "classification": "#e8890c",
    "localization": "#e5c100",
    "missed": "#d62728",
    "background": "#d62728",
    "crowd": "#808080",
    "ignored": "#808080",
}


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
            clean.match(field("confusions").contains(pair)),
            f"{gt} mistaken for {predicted}, {count} times",
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


def arrange_app(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> None:
    """Offer overlays as media, show things at first, and give each outcome a color."""
    config = dataset.app_config
    config.media_fields = ["filepath", *(f"overlay{run.suffix}" for run in runs)]
    shown = [f"{side}{run.suffix}" for run in runs for side in ("ground_truth", "prediction")]
    config.active_fields = fiftyone.ActiveFields(paths=shown)
    outcomes = [{"value": outcome, "color": color} for outcome, color in _OUTCOME_COLORS.items()]
    stuff = [
        {"intTarget": category.label, "color": color_of(category)}
        for category in runs[0].run.categories.values()
        if not category.is_thing
    ]
    things = [
        {"path": path, "colorByAttribute": "outcome", "valueColors": outcomes}
        for name in shown
        for path in (
            name,
            name.replace("ground_truth", "ground_truth_stuff_segments").replace(
                "prediction", "prediction_stuff_segments"
            ),
        )
    ]
    config.sidebar_groups = _sidebar(fiftyone, dataset)
    config.color_scheme = fiftyone.ColorScheme(color_by="value", fields=things, default_mask_targets_colors=stuff)
    dataset.save()


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
