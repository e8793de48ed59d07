"""A plugin of pytest that fails a run in which tests were skipped that may not be: `pytest -p tests.bounded_skips`.

CI uses it, because a run of which most is skipped looks green. Each reason may occur as often as there are tests that
need what it names.
"""

import re
from collections import Counter
from collections.abc import Mapping

import pytest

# By the pattern of a reason: the largest number of tests that are skipped for it in one run.
ALLOWED: Mapping[str, int] = {
    r"needs a GPU": 1,
    r"SLURM is not installed \(.* missing\)": 7,
    r"SLURM's daemons need root": 6,
    r"FiftyOne is missing: make install EXTRAS=dev,browse": 18,
    r"MongoDB is missing: ": 18,
    r"Chromium (or playwright )?is missing": 60,
    r"the sample of COCO does not lie beside the repository": 1,
    r"\.\./shared/coco-160 is missing": 14,
    r"the source of .* cannot be fetched: ": 4,
    r"ImageNet weights of efficientnet_lite0 cannot be fetched: ": 2,
    r"NVRTC is missing \(": 4,
    r"network namespaces cannot be made here: ": 1,
    r"the compiler's sanitizers are not installed: ": 1,
}


def excess(reasons: Mapping[str, int]) -> list[str]:
    """Return a line for each reason that is unknown, or occurs too often."""
    counts: Counter[str] = Counter()
    for reason, count in reasons.items():
        counts[next((pattern for pattern in ALLOWED if re.match(pattern, reason)), reason)] += count
    return [
        f"{count} skipped, {ALLOWED.get(pattern, 0)} allowed: {pattern}"
        for pattern, count in counts.items()
        if count > ALLOWED.get(pattern, 0)
    ]


class _Skips:
    """Counts the skipped tests of a run by their reasons."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()

    def _count(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            assert isinstance(report.longrepr, tuple)
            self._reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._count(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._count(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if excess(self._reasons):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in excess(self._reasons):
            terminalreporter.write_line(f"error: {line}; see tests/bounded_skips.py", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the program that starts the workers of pytest-xdist sees all reports
        config.pluginmanager.register(_Skips())
