"""The papers' figures agree with each other, with the text, and with the models whose costs are counted."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from itertools import combinations

import pytest

from model.published.models import PUBLISHED
from model.published.papers import FOLDER, PaperRow, PaperTable, paper_tables, printed

TABLES = [table for table in paper_tables().values() if table.rows]
IMAGENET_22K = "backbone pre-trained on ImageNet-22K"
CLASSES = {"COCO val2017": (80, 53), "COCO test-dev": (80, 53), "ADE20K val": (100, 50)}  # things, stuff
ROUNDED = 0.05 + 1e-9  # most that rounding to one digit changes
# What the text says: more, than which other number, by how much.
DIFFERENCES = [
    ("v1.T1 v1_r50 PQ", "v1.T1 detr_p PQ", 6.6),
    ("v1.T1 v1_r50 PQ", "v1.T1 panoptic_fcn_r50 PQ", 6.4),
    ("v1.T1 v1_pvtv2_b5 PQ", "v1.T1 max_deeplab_l PQ", 3.0),
    ("v1.T1 v1_pvtv2_b5 PQ", "v1.T1 maskformer_swin_l PQ", 1.4),
    ("v1.T2 v1_pvtv2_b5 PQ", "v1.T2 max_deeplab_l PQ", 3.1),
    ("v1.T2 v1_pvtv2_b5 PQ", "v1.T2 innovation PQ", 0.9),
    ("v1.T3 v1_instances AP seg", "v1.T3 htc_r50 AP seg", 1.6),
    ("v1.T3 v1_instances AP seg", "v1.T3 query_inst_r50 AP seg", 1.1),
    ("v2.T1 v2_r50 PQ", "v2.T1 detr_p PQ", 6.2),
    ("v2.T1 v2_r50 PQ", "v2.T1 k_net_r50 PQ", 2.5),
    ("v2.T1 v2_r50 PQ", "v2.T1 maskformer_p_star PQ", 3.1),
    ("v2.T1 v2_r50_12 PQ", "v2.T1 maskformer_p_star PQ", 1.5),
    ("v2.T2 v2_swin_l PQ", "v2.T2 maskformer_swin_l PQ", 2.9),
    ("v2.T2 v2_swin_l PQ", "v2.T2 innovation PQ", 2.7),
    ("v2.T3 ade20k_v2_r50 PQ", "v2.T3 ade20k_maskformer_r50 PQ", 1.7),
    ("v2.T4 v2_instances_no_crop AP seg", "v2.T4 k_net_r50 AP seg", 1.8),
    ("v2.T4 v2_instances AP seg", "v2.T4 v2_instances_no_crop AP seg", 1.3),
    ("v2.T7 detr_m PQ", "v2.T7 detr_p PQ", 1.3),
    *((f"v2.T10 v2_layer_last {column}", f"v2.T1 v2_r50 {column}", 0.0) for column in ("PQ", "PQ th", "PQ st")),
    ("v2.T10 v2_layer_last FPS", "v2.T5 v2_r50 FPS", 0.0),
    ("v2.T11 v2_swin_l mean", "v2.T11 maskformer_swin_l mean", 5.5),
    ("v2.T11 v2_swin_l clean", "v2.T11 maskformer_swin_l clean", 2.9),
]
# What abstracts, text and captions repeat.
REPEATED = [
    ("v1.T2 v1_r50 PQ", 50.0),
    ("v1.T1 v1_pvtv2_b5 PQ", 54.1),
    ("v1.T2 v1_pvtv2_b5 PQ", 54.4),
    ("v1.T1 v1_pvtv2_b0 parameters", 22.2),
    ("v1.T1 max_deeplab_l PQ", 51.1),
    ("v1.T1 maskformer_swin_l PQ", 52.7),
    ("v1.T1 v1_r50_12 PQ", 46.4),
    ("v1.T3 v1_instances AP seg", 41.7),
    ("v2.T2 v2_swin_l PQ", 56.2),
    ("v2.T1 v2_pvtv2_b5 PQ", 55.4),
    ("v2.T1 v2_r50 PQ", 49.6),
    ("v2.T1 v2_r50_12 PQ", 48.0),
    ("v2.T6 box_free PQ", 49.2),
    ("v2.T5 detr_p PQ", 43.4),
    ("v2.T11 v2_swin_l mean", 47.2),
]


def value(where: str) -> float:
    """The number at a position such as `v2.T1 v2_r50 PQ th`."""
    key, system, column = where.split(" ", 2)
    return printed(key, system, column)


def rows_with(*columns: str) -> Iterator[tuple[PaperTable, PaperRow, list[float]]]:
    """All rows with numbers in these columns."""
    for table in TABLES:
        for row in table.rows:
            numbers = [number for column in columns if (number := row.cells.get(column)) is not None]
            if len(numbers) == len(columns):
                yield table, row, numbers


def test_every_file_is_the_table_of_an_entry_and_all_tables_of_both_papers_are_listed() -> None:
    assert len(list(FOLDER.glob("*.csv"))) == len(TABLES) + 1
    entries = paper_tables()
    assert [key for key in entries if key.startswith("v1.T")] == [f"v1.T{number}" for number in range(1, 5)]
    assert [key for key in entries if key.startswith("v2.T")] == [f"v2.T{number}" for number in range(1, 12)]
    figures = [f"{version}.F{number}" for version, last in (("v1", 5), ("v2", 7)) for number in range(1, last + 1)]
    assert [key for key in entries if ".F" in key] == figures
    assert [key for key, entry in entries.items() if entry.status == "not available"] == ["v1.A", "v2.T9", "v2.A"]


def test_there_are_this_many_figures() -> None:
    assert sum(number is not None for table in TABLES for row in table.rows for number in row.cells.values()) == 592


def test_a_system_has_one_row_in_a_table_and_rows_are_complete() -> None:
    for table in TABLES:
        systems = [row.system for row in table.rows]
        assert len(systems) == len(set(systems)), table.key
        assert all(row.method and row.backbone and any(row.cells.values()) for row in table.rows), table.key
        assert any(row.is_own for row in table.rows), table.key


def test_tables_do_not_change() -> None:
    row = paper_tables()["v2.T1"].row("v2_r50")
    for field in fields(row):
        with pytest.raises(FrozenInstanceError):
            setattr(row, field.name, None)
    assert not hasattr(row.cells, "update")
    assert not hasattr(paper_tables(), "update")


def test_pq_is_the_mean_of_things_and_stuff_weighted_by_classes() -> None:
    checked = 0
    for table, row, (all_classes, things, stuff) in rows_with("PQ", "PQ th", "PQ st"):
        num_things, num_stuff = CLASSES[table.data]
        mean = (num_things * things + num_stuff * stuff) / (num_things + num_stuff)
        agrees = abs(all_classes - mean) <= 2 * ROUNDED
        assert agrees or f"the mean of its things and stuff is {mean:.1f}" in row.remark, (table.key, row.system, mean)
        checked += 1
    assert checked == 70


@pytest.mark.parametrize("prefix", ["", "boundary "])
def test_pq_is_a_mean_of_products_of_sq_and_rq(prefix: str) -> None:
    """Classes that are found more often are segmented better, so the mean is above the product of means, by little."""
    found = list(rows_with(f"{prefix}PQ", f"{prefix}SQ", f"{prefix}RQ"))
    assert len(found) == (8 if prefix else 20)
    for table, row, (pq, sq, rq) in found:
        assert 0 < pq - sq * rq / 100 < 2, (table.key, row.system)
        assert rq / 2 < pq < min(sq, rq), (table.key, row.system)


def test_tables_repeat_the_same_numbers_or_say_that_they_do_not() -> None:
    compared = 0
    for (one, row), (other, repeated) in combinations([(table, row) for table in TABLES for row in table.rows], 2):
        if row.system == repeated.system:
            for column in row.cells.keys() & repeated.cells.keys():
                first, second = row.cells[column], repeated.cells[column]
                counted = column in ("parameters", "FLOPs")
                if first is not None and second is not None and (counted or one.data == other.data):
                    same = abs(first - second) <= (0.5 if column == "FLOPs" else 0)
                    where = f"{one.key} {row.system} {column}: {first}, {other.key}: {second}"
                    assert same or (f"{second:g}" in row.remark and f"{first:g}" in repeated.remark), where
                    compared += 1
    assert compared == 157


def test_the_mean_under_corruption_is_that_of_its_16_columns() -> None:
    for row in paper_tables()["v2.T11"].rows:
        clean, mean, *corrupted = row.cells.values()
        assert len(corrupted) == 16
        assert mean is not None
        assert clean is not None
        known = [number for number in corrupted if number is not None]
        assert mean == pytest.approx(sum(known) / 16, abs=2 * ROUNDED), row.system
        assert max(known) < clean


@pytest.mark.parametrize(("more", "less", "difference"), DIFFERENCES)
def test_differences_in_the_text_are_those_of_the_tables(more: str, less: str, difference: float) -> None:
    assert value(more) - value(less) == pytest.approx(difference, abs=1e-9)


@pytest.mark.parametrize(("where", "said"), REPEATED)
def test_numbers_in_the_text_are_those_of_the_tables(where: str, said: float) -> None:
    assert value(where) == said


def test_the_mark_of_imagenet_22k_is_on_the_same_backbones_throughout_a_paper() -> None:
    for version in ("v1", "v2"):
        rows = [row for table in TABLES if table.key.startswith(version) for row in table.rows]
        marked = {row.backbone for row in rows if IMAGENET_22K in row.remark}
        assert marked == ({"Swin-L"} if version == "v1" else {"Swin-L", "PVTv2-B5"})
        assert all(IMAGENET_22K in row.remark for row in rows if row.backbone in marked)


def test_published_models_have_the_costs_of_the_tables() -> None:
    for version, prefix in (("v1", "v1_"), ("v2", "")):
        for row in paper_tables()[f"{version}.T1"].rows:
            if row.is_own:
                name = row.system.removeprefix("v2_").removesuffix("_12")
                model = PUBLISHED[name]
                assert name.startswith(prefix)
                assert (model.parameters, model.gmacs) == (row.cells["parameters"], row.cells["FLOPs"])


def test_a_dash_is_no_number() -> None:
    with pytest.raises(KeyError, match=r"v2.T1: a dash for FLOPs of k_net_r50"):
        printed("v2.T1", "k_net_r50", "FLOPs")
    with pytest.raises(KeyError, match=r"v2.T1: no row of eomt"):
        printed("v2.T1", "eomt", "PQ")
