"""The tables of models that a terminal has room for."""

from benchmarks.complexity import ComplexityReport
from benchmarks.harness.results import read_report
from model.complexity.table import narrow_tables
from tests.markdown import unpadded


def test_all_models_fit_a_terminal() -> None:
    rows = read_report("complexity", ComplexityReport).rows
    printed = narrow_tables(rows)
    assert max(map(len, printed.splitlines())) <= 100
    for name in (row.name for row in rows):
        assert printed.count(f"| {name} ") == 2
    assert "| r50 | 50.66 | 50.38 | 51.00 | 51.0 | -0.0 % |\n" in unpadded(printed)
    assert "| r50 | 214.2 | 214.0 | +0.1 % | 221.5 | 2.5 |\n" in unpadded(printed)
