"""The cases tell the rules from others that look like them: a brute force with any rule changed fails some case."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from conformance import brute_force
from conformance.case import Expected
from conformance.reading import read_cases

SOURCE = Path(brute_force.__file__).read_text()
SMALL = [entry for entry in read_cases() if all(len(i.ground_truth.ids[0]) <= 24 for i in entry.case.images)]
MUTANTS = {
    "P1: 1/2 matches": ("if iou > HALF", "if iou >= HALF"),
    "P1: classes do not matter": ("if gt.is_crowd or gt.category_id != predicted.category_id:", "if gt.is_crowd:"),
    "P3: no false negatives": ("counts[gt.category_id].fn += 1", "pass"),
    "V1: void counts in the union": ("- shared - predicted_on_void", "- shared"),
    "V2: half on void is ignored": ("len(drawn)) > HALF", "len(drawn)) >= HALF"),
    "V2: nothing is ignored": ("and not _ignored(predicted, image, rules)", ""),
    "V3: void of the prediction is left out": (
        "else len(whole)",
        "else len(whole - predicted_pixels.get(0, whole - whole))",
    ),
    "C1: crowd is missed": ("if not gt.is_crowd and gt.id", "if gt.id"),
    "C1: crowd matches": ("if gt.is_crowd or gt.category_id", "if gt.category_id"),
    "C2: crowd of any class": (" and s.category_id == predicted.category_id)", ")"),
    "C2: the last crowd only": ("crowds[-1:] if rules.one_crowd", "crowds[-1:] if True"),
    "C2: the first crowd only": ("crowds[-1:] if rules.one_crowd", "crowds[:1] if True"),
    "C2: the largest crowd only": ("crowds[-1:] if rules.one_crowd", "sorted(crowds, key=len)[-1:] if True"),
    "C2: no void beside crowd": (
        "[gt.get(VOID, frozenset()), *(",
        "[*([] if crowds else [gt.get(VOID, frozenset())]), *(",
    ),
    "A1: areas of the JSON": ("if rules.areas_of_json and", "if"),
    "I1: ids of two bytes": ("found.setdefault(segment_id, set())", "found.setdefault(segment_id & 0xFFFF, set())"),
    "I1: ids are signed": ("found.setdefault(segment_id, set())", "found.setdefault(segment_id & 0x7FFFFF, set())"),
    "M1: only classes with a match": ("count.tp + count.fp + count.fn > 0", "count.tp > 0"),
    "M1: only classes of the ground truth": ("count.tp + count.fp + count.fn > 0", "count.tp + count.fn > 0"),
    "B1: a half is rounded up": ("and whole % 2 == 1", ""),
    "B1: a half is rounded down": ("and whole % 2 == 1", "and False"),
    "B1: rounded down": ("while (2 * whole + 1) ** 2 < squared", "while (2 * whole + 2) ** 2 <= squared"),
    "B1: of the longer side": ("(height**2 + width**2)", "max(height, width) ** 2"),
    "B2: not diagonally": ("for dx in steps))", "for dx in steps if abs(dx) + abs(dy) <= reach))"),
    "B2: one pixel less": ("range(-reach, reach + 1)", "range(-reach + 1, reach)"),
    "B2: the rim of the image is inside": ("not in pixels for", "not in pixels and min(y + dy, x + dx) >= 0 for"),
    "B3: void counts in the union": ("*areas, len(in_prediction & void)", "*areas, 0"),
    "B4: boundary IoU alone": (
        "min(iou, _boundary_iou(gt, predicted, outlines, void))",
        "_boundary_iou(gt, predicted, outlines, void)",
    ),
    "B4: the larger IoU": ("min(iou, _boundary", "max(iou, _boundary"),
    "B6: interiors have an id": ("if rules.marker else None", ""),
}


def find_failure(module: ModuleType) -> str:
    """The first case whose scores another brute force gets wrong; empty if there is none."""
    for entry in SMALL:
        try:
            found: Expected = module.solve(entry.case)
        except (KeyError, ZeroDivisionError):
            return entry.case.path
        if found != entry.expected:
            return entry.case.path
    return ""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_fails_a_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = MUTANTS[name]
    assert SOURCE.count(old) == 1
    module = ModuleType("mutant")
    monkeypatch.setitem(sys.modules, "mutant", module)  # where dataclasses look up types
    exec(compile(SOURCE.replace(old, new), "mutant", "exec"), vars(module))
    assert find_failure(module)


def test_the_right_rules_fail_none() -> None:
    assert find_failure(brute_force) == ""
