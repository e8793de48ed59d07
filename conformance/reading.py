"""Reading the cases; README.md describes the files."""

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from conformance.case import Bands, Case, Category, Entry, Expected, Image, Mean, Quality, Scores, Segment, Side

CASES = Path(__file__).parent / "cases"
VERSION = 1
Json = Mapping[str, Any]


def read_cases(folder: Path = CASES) -> list[Entry]:
    """Read all cases. Raises `ValueError` for files of another version."""
    entries = []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        if document["version"] != VERSION:
            raise ValueError(f"{path}: version {document['version']}, expected {VERSION}; use the code of its release")
        entries += [_read_entry(path.stem, entry) for entry in document["cases"]]
    return entries


def _read_entry(topic: str, entry: Json) -> Entry:
    categories = tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in entry["categories"])
    images = tuple(
        Image(image["id"], _read_side(image["ground_truth"]), image["prediction"] and _read_side(image["prediction"]))
        for image in entry["images"]
    )
    ratio = Fraction(entry["boundary_ratio"])
    case = Case(topic, entry["name"], entry["purpose"], entry["rule"], categories, images, ratio)
    variants = {name: _read_expected(variant) for name, variant in entry["variants"].items()}
    return Entry(case, _read_expected(entry["expected"]), variants)


def _read_side(side: Json) -> Side:
    segments = (Segment(s["id"], s["category_id"], bool(s.get("iscrowd", 0)), s.get("area")) for s in side["segments"])
    return Side(tuple(row for text in side["ids"] for row in _read_rows(text)), tuple(segments))


def _read_rows(text: str) -> Iterator[tuple[int, ...]]:
    """Read `count rows: runs`, or `runs` alone for one row; a run is an id, or a length, `*` and an id."""
    count, _, runs = text.rpartition(" rows: ")
    row: list[int] = []
    for run in runs.split():
        length, _, segment_id = run.rpartition("*")
        row += [int(segment_id)] * int(length or 1)
    return iter([tuple(row)] * int(count or 1))


def _read_expected(expected: Json) -> Expected:
    if "refused" in expected:
        return Expected(refused=expected["refused"])
    bands = tuple(
        Bands(
            image["distance"], *({int(k): v for k, v in image[side].items()} for side in ("ground_truth", "prediction"))
        )
        for image in expected["bands"]
    )
    return Expected(_read_scores(expected["pq"]), _read_scores(expected["boundary_pq"]), bands)


def _read_scores(scores: Json) -> Scores:
    classes = {
        int(key): Quality(q["tp"], q["fp"], q["fn"], *(Fraction(q[name]) for name in ("iou_sum", "pq", "sq", "rq")))
        for key, q in scores["classes"].items()
    }
    means = {
        group: mean and Mean(*(Fraction(mean[name]) for name in ("pq", "sq", "rq")))
        for group, mean in scores["means"].items()
    }
    return Scores(classes, means)
