"""Quality under corruption: the numbers of the paper's table 11 as JSON, CSV and a table.

The mean performance under corruption (mPC) is the mean over corruptions of their means over severities; divided by the
quality on clean images it is the fraction that is retained.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic.evaluation.scores import Scores, mean_of_known
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.corruptions import CORRUPTIONS, Variant, find_corruption

CLASS_GROUPS = ("all", "things", "stuff")

Measures = Mapping[str, Mapping[str, float | None]]
"""Qualities by name (`pq`, `boundary_rq`) and group of classes; fractions of 1, None where no class occurs."""


@dataclass(frozen=True)
class Robustness:
    """The measures of the clean images and of every variant of them."""

    clean: Measures
    variants: Mapping[Variant, Measures]

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions measured, in the order of table 11; one's own come last."""
        measured = dict.fromkeys(variant.corruption for variant in self.variants)
        own = [name for name in measured if name not in CORRUPTIONS]
        return tuple([name for name in CORRUPTIONS if name in measured] + own)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The names of all corruptions, also of those not measured, in the groups of those measured."""
        own = [name for name in self.corruptions if name not in CORRUPTIONS]
        members: dict[str, list[str]] = defaultdict(list)
        for name in (*CORRUPTIONS, *own):
            members[find_corruption(name).group].append(name)
        return {group: names for group, names in members.items() if set(names) & set(self.corruptions)}

    @property
    def severities(self) -> tuple[int, ...]:
        """The severities measured, in increasing order."""
        return tuple(sorted({variant.severity for variant in self.variants}))

    def pq(self, corruption: str, severity: int | None = None, classes: str = "all") -> float | None:
        """PQ under a corruption, at one severity or averaged over all of them; a fraction of 1."""
        severities = self.severities if severity is None else (severity,)
        return mean_of_known([self.variants[Variant(corruption, level)]["pq"][classes] for level in severities])

    def mean_pq(self, severity: int | None = None, classes: str = "all") -> float | None:
        """mPC, or the mean over all corruptions at one severity."""
        return mean_of_known([self.pq(corruption, severity, classes) for corruption in self.corruptions])


def measures(scores: Scores) -> Measures:
    """The averages by group of one variant."""
    return {
        name: groups for metric in scores.metrics if metric.by_group for name, groups in scores.averages(metric).items()
    }


def metrics_to_json(robustness: Robustness) -> dict[str, object]:
    """PQ by group of classes: `clean`, `mean` (mPC), `relative` (mPC / clean), and by corruption."""
    clean = robustness.clean["pq"]
    averages = {group: robustness.mean_pq(classes=group) for group in CLASS_GROUPS}
    return {
        "clean": dict(clean),
        "mean": averages,
        "relative": {group: _fraction(averages[group], clean[group]) for group in CLASS_GROUPS},
        "corruptions": {
            name: {group: robustness.pq(name, classes=group) for group in CLASS_GROUPS}
            for name in robustness.corruptions
        },
    }


def variants_to_json(robustness: Robustness) -> dict[str, object]:
    """All measures: `clean`, and by corruption and severity."""
    return {
        "clean": robustness.clean,
        "corruptions": {
            name: {str(severity): robustness.variants[Variant(name, severity)] for severity in robustness.severities}
            for name in robustness.corruptions
        },
    }


def read_variants(path: Path) -> Robustness:
    """Read the file that `variants_to_json` was written to. Raises `DatasetError` naming the file."""
    document = read_json(path)
    corruptions, variants = document.child("corruptions"), dict[Variant, Measures]()
    for name in corruptions.values:
        severities = corruptions.child(name)
        for severity in severities.values:
            try:
                variant = Variant(name, int(severity))
            except ValueError as error:
                raise DatasetError(f"{severities.where}: {error}; run `dvc repro robustness` again") from None
            variants[variant] = _read_measures(severities.child(severity))
    robustness = Robustness(_read_measures(document.child("clean")), variants)
    if not variants or len(variants) != len(robustness.corruptions) * len(robustness.severities):
        missing = "lacks a severity of some corruption" if variants else "has no corruption"
        raise DatasetError(f"{path}: {missing}; run `dvc repro robustness` again")
    return robustness


def _read_measures(entry: JsonObject) -> Measures:
    if not entry.has("pq"):
        raise DatasetError(f"{entry.where}: has no 'pq'; run `dvc repro robustness` again")
    return {name: {group: entry.child(name).optional_number(group) for group in CLASS_GROUPS} for name in entry.values}


def severity_csv(robustness: Robustness) -> str:
    """PQ in percent by severity, with a column for each corruption and for their mean; severity 0 is clean."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = robustness.corruptions
    writer.writerow(["severity", "mean", *names])
    writer.writerow([0, *[_percent(robustness.clean["pq"]["all"])] * (1 + len(names))])
    for severity in robustness.severities:
        values = [robustness.mean_pq(severity), *(robustness.pq(name, severity) for name in names)]
        writer.writerow([severity, *(_percent(value) for value in values)])
    return text.getvalue()


def table(robustness: Robustness, images: int) -> str:
    """Table 11 in Markdown: PQ in percent under each corruption, averaged over the severities, and at each of them."""
    averages, levels = _rows(robustness)
    return markdown_page(
        f"PQ in percent on {images} images; means over severities {_severities(robustness)}.",
        markdown_table(_titles("classes", robustness), averages),
        "All classes at each severity:",
        markdown_table(_titles("severity", robustness), levels),
        _retained(robustness),
    )


def narrow_table(robustness: Robustness, images: int) -> str:
    """Render the numbers of `table` for a terminal, which has no room for a column for each corruption."""
    averages, levels = _rows(robustness)
    header, *lines = zip(_titles("corruption", robustness), *averages, *levels, strict=True)
    return markdown_page(
        f"PQ in percent on {images} images: means over severities {_severities(robustness)}, and of all at each.",
        markdown_table(header, lines),
        _retained(robustness),
    )


def _rows(robustness: Robustness) -> tuple[list[list[str]], list[list[str]]]:
    """A row for each group of classes, averaged over the severities, and one for each severity."""
    return (
        [_row(classes, robustness, None, classes) for classes in CLASS_GROUPS],
        [_row(str(severity), robustness, severity, CLASS_GROUPS[0]) for severity in robustness.severities],
    )


def _severities(robustness: Robustness) -> str:
    return ", ".join(map(str, robustness.severities))


def _retained(robustness: Robustness) -> str:
    kept = _fraction(robustness.mean_pq(), robustness.clean["pq"]["all"])
    return "" if kept is None else f"On average, {100 * kept:.1f} % of the clean PQ is retained under corruption."


def _fraction(part: float | None, whole: float | None) -> float | None:
    """`part / whole`; None where the whole is 0 or unknown."""
    return None if part is None or not whole else part / whole


def _titles(first: str, robustness: Robustness) -> list[str]:
    corruptions = map(find_corruption, robustness.corruptions)
    return [first, "clean", "mean", *(f"{corruption.group}: {corruption.title}" for corruption in corruptions)]


def _row(title: str, robustness: Robustness, severity: int | None, classes: str) -> list[str]:
    values = [robustness.clean["pq"][classes], robustness.mean_pq(severity, classes)]
    values += [robustness.pq(name, severity, classes) for name in robustness.corruptions]
    return [title, *("-" if value is None else f"{100 * value:.1f}" for value in values)]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.4f}"
