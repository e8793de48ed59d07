"""The output of `check`: summary and issues as text for a terminal, and everything as JSON."""

import json
from collections.abc import Iterator

from panoptic.format.categories import Category
from panoptic.io.printable import printable
from panoptic.tools.check.dataset import DatasetCheck
from panoptic.tools.check.issues import by_type, count_severities
from panoptic.tools.check.summary import LARGE_AREA, RARE_IMAGES, SMALL_AREA, SplitSummary, rare_classes

FORMAT, VERSION = "panoptic-check", 2
_EXAMPLES = 3
_BAR = 24


def as_text(check: DatasetCheck, every_issue: bool = False) -> str:
    """Format summary, classes and issues as text; the worst issues are last, just above the prompt."""
    lines = [f"{check.name}: splits {', '.join(split.split for split in check.splits)}", ""]
    lines += [*_splits(check), "", *_classes(check), "", *_issues(check, every_issue), verdict(check)]
    return "\n".join(map(printable, lines))


def verdict(check: DatasetCheck) -> str:
    counts = count_severities(check.issues)
    found = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items())
    return f"{found}: {'not fit for use; correct the errors' if check.has_errors else 'fit for use'}"


def split_rows(check: DatasetCheck) -> list[list[str]]:
    """The table of the splits; the first row is its header."""
    head = ["split", "images", "smallest", "median", "largest (h x w)", "segments/image", "small", "medium", "large"]
    rows = [[*head, "void", "crowd"]]
    for split in check.splits:
        summary = split.summary
        sizes = [f"{height} x {width}" for height, width in summary.sizes()] or ["-"] * 3
        segments = " / ".join(map(str, summary.segments_per_image())) or "-"
        areas = summary.areas
        counts = [str(areas.small), str(areas.medium), str(areas.large)]
        fractions = [f"{summary.void_fraction:.1%}", f"{summary.crowd_fraction:.1%}"]
        rows.append([summary.split, str(summary.images), *sizes, segments, *counts, *fractions])
    return rows


def class_rows(check: DatasetCheck) -> list[tuple[Category, bool, list[str], int]]:
    """For each class: the category, whether it is rare, its instances (images) by split, and all its instances."""
    rare = rare_classes(split.summary for split in check.splits)
    rows = []
    for category in check.categories or ():
        counts = [split.summary.counts_of(category.id) for split in check.splits]
        cells = [f"{found.instances} ({found.images})" for found in counts]
        rows.append((category, category.id in rare, cells, sum(found.instances for found in counts)))
    return rows


def notes_on_tables(check: DatasetCheck) -> str:
    limits = (
        f"small: below {SMALL_AREA} pixels, large: from {LARGE_AREA} (COCO); segments/image: minimum / median / maximum"
    )
    return f"{limits}; rare: in {RARE_IMAGES} images or fewer; void: pixels of no listed segment"


def _splits(check: DatasetCheck) -> Iterator[str]:
    yield from _table(split_rows(check))
    for split in check.splits:
        if split.summary.void_images:
            yield f"{split.split}: {split.summary.void_images} images are entirely void"
    yield f"({notes_on_tables(check)})"


def _classes(check: DatasetCheck) -> Iterator[str]:
    """A bar for each class, with one scale for things and one for stuff, which are counted differently."""
    if check.categories is None:
        yield "no categories could be read"
        return
    rows = class_rows(check)
    things, stuff = len(check.categories.things), len(check.categories.stuff)
    yield f"{things} things and {stuff} stuff classes; segments (images) of each:"
    table = [["id", "class", "", *(split.split for split in check.splits), "", ""]]
    for category, rare, cells, count in rows:
        if not any(split.summary.counts_of(category.id).images for split in check.splits):
            continue
        counts = [other for row, _, _, other in rows if row.is_thing == category.is_thing]
        bar = "#" * -(-_BAR * count // max(1, *counts))
        thing_or_stuff = "thing" if category.is_thing else "stuff"
        table.append([str(category.id), category.name, thing_or_stuff, *cells, bar, "rare" if rare else ""])
    yield from _table(table)
    if absent := len(rows) + 1 - len(table):
        yield f"classes that occur nowhere: {absent}"


def _issues(check: DatasetCheck, every_issue: bool) -> Iterator[str]:
    """The issues by type, notes first, so that the errors are just above the prompt."""
    for issue_type, issues in reversed(by_type(check.issues).items()):
        yield f"{issue_type.severity.upper()} {issue_type.name} ({len(issues)}): {issue_type.title}"
        for issue in issues if every_issue else issues[:_EXAMPLES]:
            yield f"    {issue.where}: {issue.found}"
        if len(issues) > _EXAMPLES and not every_issue:
            yield f"    ... and {len(issues) - _EXAMPLES} more (--all lists them)"
        yield f"  to do: {issue_type.hint}"
        yield ""


def _table(rows: list[list[str]]) -> Iterator[str]:
    """Align the cells of each column; numbers are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def as_json(check: DatasetCheck) -> str:
    """Format everything as JSON, for programs; types, severities and fields are stable."""
    counts = count_severities(check.issues)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": check.name,
        "counts": {f"{severity}s": count for severity, count in counts.items()},
        "splits": [_split_json(split.summary) for split in check.splits],
        "classes": [
            {
                "id": category.id,
                "name": category.name,
                "isthing": int(category.is_thing),
                "rare": rare,
                "splits": {split.split: _class_json(split.summary, category.id) for split in check.splits},
            }
            for category, rare, _, _ in class_rows(check)
        ],
        "issues": [
            {
                "kind": issue.type,
                "severity": issue.severity,
                "split": issue.split,
                "where": issue.where,
                "found": issue.found,
                "hint": issue.hint,
                "image_id": issue.image_id,
            }
            for issue in check.issues
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _split_json(summary: SplitSummary) -> dict[str, object]:
    return {
        "split": summary.split,
        "images": summary.images,
        "sizes_height_width": dict(zip(("smallest", "median", "largest"), summary.sizes(), strict=False)),
        "segments_per_image": dict(zip(("least", "median", "most"), summary.segments_per_image(), strict=False)),
        "areas": vars(summary.areas),
        "void_fraction": summary.void_fraction,
        "crowd_fraction": summary.crowd_fraction,
        "void_images": summary.void_images,
    }


def _class_json(summary: SplitSummary, category_id: int) -> dict[str, object]:
    counts = summary.counts_of(category_id)
    found = {"instances": counts.instances, "crowds": counts.crowds, "images": counts.images}
    return {**found, "areas": vars(counts.areas)}
