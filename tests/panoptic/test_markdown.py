"""Markdown tables and pages."""

from panoptic.markdown import markdown_page, markdown_table


def test_labels_are_left_numbers_right_and_pipes_escaped() -> None:
    lines = markdown_table(["", "PQ"], [["a|b", "1.0"], ["c", None]]).splitlines()
    assert lines == ["|      |   PQ |", "|:-----|-----:|", "| a\\|b |  1.0 |", "| c    |      |"]


def test_numbers_stay_as_they_are_formatted() -> None:
    assert "1.50 |" in markdown_table(["n"], [["1.50"], ["1e3"]], labels=0)
    assert "1e3 |" in markdown_table(["n"], [["1.50"], ["1e3"]], labels=0)


def test_names_do_not_break_rows() -> None:
    assert markdown_table(["class"], [["a\nb\x1b[2J"]]).splitlines()[2:] == ["| a\\nb\\x1b[2J |"]


def test_a_table_may_be_empty() -> None:
    assert markdown_table(["a", "b"], []).splitlines()[0].split() == ["|", "a", "|", "b", "|"]


def test_blocks_are_separated_and_empty_ones_left_out() -> None:
    assert markdown_page("# Title", "", "text") == "# Title\n\ntext\n"
