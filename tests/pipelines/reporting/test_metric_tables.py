"""Metrics of any shape become tables with the same numbers."""

from pipelines.reporting.metric_tables import metric_tables


def test_sections_are_rows_and_rows_that_share_a_column_are_a_table() -> None:
    content = {
        "pq": {"all": 0.7, "things": 0.6, "stuff": 0.8},
        "miou": 0.5,
        "ap": {"segm": {"AP": 0.3}, "bbox": {"AP": 0.4, "AP50": 0.9}},
        "corrupted": {"fog": {"all": 0.1, "things": 0.2, "stuff": 0.3}},
        "steps": 7,
    }
    assert metric_tables(content) == [
        [
            {"metric": "pq", "all": 0.7, "things": 0.6, "stuff": 0.8},
            {"metric": "corrupted.fog", "all": 0.1, "things": 0.2, "stuff": 0.3},
        ],
        [{"metric": "miou", "value": 0.5}, {"metric": "steps", "value": 7}],
        [{"metric": "ap.segm", "AP": 0.3, "AP50": None}, {"metric": "ap.bbox", "AP": 0.4, "AP50": 0.9}],
    ]


def test_fractions_are_rounded_and_integers_are_not() -> None:
    ((row,),) = metric_tables({"model": {"parameters": 50659212, "pq": 0.123456789}})
    assert row == {"metric": "model", "parameters": 50659212, "pq": 0.123457}


def test_values_that_are_not_numbers_are_left_out() -> None:
    content = {"device": "cpu", "pq": {"all": None, "sure": True, "note": "a text"}, "loss": float("nan"), "of": []}
    assert metric_tables(content) == []
