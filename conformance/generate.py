"""Write the cases in cases/ from conformance.topics, with the scores that conformance.brute_force finds.

python -m conformance.generate
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Protocol

from conformance.brute_force import VARIANTS, solve
from conformance.case import Bands, Case, Entry, Expected, Grid, Scores, Segment, Side
from conformance.reading import CASES, VERSION
from conformance.topics import (
    areas,
    boundary,
    classes,
    crowd,
    groups,
    ids,
    invalid,
    marker,
    matching,
    pixels,
    seeded,
    void,
    widths,
)

_LINE = 120


class TopicModule(Protocol):
    """A module of conformance.topics."""

    def cases(self) -> Iterator[Case]: ...


TOPICS: tuple[TopicModule, ...] = (
    matching, pixels, void, crowd, classes, groups, ids, areas, boundary, widths, marker, invalid, seeded,
)  # fmt: skip


def entries(cases: Sequence[Case]) -> list[Entry]:
    """Solve cases by the rules, and by those of public tools where that gives something else."""
    solved = []
    for case in cases:
        expected = solve(case)
        variants = {name: solve(case, rules) for name, rules in VARIANTS.items()}
        solved.append(Entry(case, expected, {name: found for name, found in variants.items() if found != expected}))
    return solved


def documents(cases: Sequence[Case]) -> dict[str, str]:
    """The files by topic."""
    by_topic = groupby(entries(cases), key=lambda entry: entry.case.topic)
    return {
        topic: _dump({"version": VERSION, "cases": [_entry(entry) for entry in members]}) + "\n"
        for topic, members in by_topic
    }


def _entry(entry: Entry) -> dict[str, object]:
    case = entry.case
    return {
        "name": case.name,
        "rule": case.rule,
        "purpose": case.purpose,
        "boundary_ratio": str(case.boundary_ratio),
        "categories": [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in case.categories],
        "images": [
            {
                "id": image.id,
                "ground_truth": _side(image.ground_truth, _gt_segment),
                "prediction": image.prediction and _side(image.prediction, _predicted_segment),
            }
            for image in case.images
        ],
        "expected": _expected(entry.expected),
        "variants": {name: _expected(variant) for name, variant in entry.variants.items()},
    }


def _side(side: Side, segment_to_json: "SegmentToJson") -> dict[str, object]:
    return {"ids": list(_rows(side.ids)), "segments": [segment_to_json(segment) for segment in side.segments]}


class SegmentToJson(Protocol):
    """Writes an entry of `segments_info`."""

    def __call__(self, segment: Segment, /) -> dict[str, int | None]: ...


def _gt_segment(segment: Segment) -> dict[str, int | None]:
    return _predicted_segment(segment) | {"iscrowd": int(segment.is_crowd), "area": segment.area}


def _predicted_segment(segment: Segment) -> dict[str, int | None]:
    return {"id": segment.id, "category_id": segment.category_id}


def _rows(ids: Grid) -> Iterator[str]:
    """Write small maps plainly, and large ones as runs; see `conformance.case`."""
    plain = len(ids[0]) <= 16
    for row, equal in groupby(ids):
        count = len(list(equal))
        text = " ".join(map(str, row)) if plain else " ".join(f"{len(list(run))}*{key}" for key, run in groupby(row))
        yield from [text] * count if plain and len(ids) <= 16 else [f"{count} rows: {text}"]


def _expected(expected: Expected) -> dict[str, object]:
    if expected.pq is None or expected.boundary_pq is None:
        return {"refused": expected.refused}
    return {
        "pq": _scores(expected.pq),
        "boundary_pq": _scores(expected.boundary_pq),
        "bands": [_band(bands) for bands in expected.bands],
    }


def _scores(scores: Scores) -> dict[str, object]:
    return {
        "classes": {str(key): _numbers(quality) for key, quality in scores.classes.items()},
        "means": {group: mean and _numbers(mean) for group, mean in scores.means.items()},
    }


def _numbers(record: object) -> dict[str, object]:
    fields: dict[str, object] = vars(record)
    return {name: str(value) if isinstance(value, Fraction) else value for name, value in fields.items()}


def _band(bands: Bands) -> dict[str, object]:
    return asdict(bands)


def _dump(value: object, indent: int = 0) -> str:
    """JSON with each value on one line where it fits."""
    short = json.dumps(value)
    if len(short) + indent <= _LINE or not isinstance(value, dict | list) or not value:
        return short
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        lines = [f"{pad}{json.dumps(str(key))}: {_dump(item, indent + 1)}" for key, item in value.items()]
    else:
        lines = [pad + _dump(item, indent + 1) for item in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    return start + "\n" + ",\n".join(lines) + "\n" + " " * indent + end


def all_cases() -> list[Case]:
    """All cases, by topic."""
    return [case for topic in TOPICS for case in topic.cases()]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m conformance.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=CASES, help="folder to write to")
    folder: Path = parser.parse_args(argv).folder
    cases = all_cases()
    for topic, text in documents(cases).items():
        (folder / f"{topic}.json").write_text(text)
    print(f"{len(cases)} cases in {folder}")


if __name__ == "__main__":
    main()
