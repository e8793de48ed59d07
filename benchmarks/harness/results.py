"""Publishing a benchmark: a page to read, the numbers behind it, and their summaries."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from panoptic.io.errors import DatasetError
from panoptic.io.files import replace_atomically
from panoptic.io.json_fields import load_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RESULTS = Path("benchmarks/results")
Report = TypeVar("Report")


@dataclass(frozen=True)
class Summary:
    """Median, lowest and highest of several measurements; `f"{summary:.2f}"` gives `1.50 (1.20 to 2.00)`."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarize the measurements of all rounds."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, values: Sequence[float], baseline: Sequence[float]) -> "Summary":
        """Summarize values divided by those that the baseline had in the same rounds."""
        return cls.of([value / base for value, base in zip(values, baseline, strict=True)])

    @property
    def reciprocal(self) -> "Summary":
        """Images per second, for example, from seconds of an image."""
        return Summary(1 / self.median, 1 / self.highest, 1 / self.lowest)

    def __mul__(self, factor: float) -> "Summary":
        return Summary(factor * self.median, factor * self.lowest, factor * self.highest)

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.lowest:{spec}} to {self.highest:{spec}})"


def mean_and_range(values: Sequence[float]) -> str:
    """Format percentages as `71.0 (70.0 to 72.0)`: the mean, not the median, where there are two or three."""
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def publish(name: str, page: str, report: "DataclassInstance", out: Path = RESULTS) -> None:
    """Write `<out>/<name>.md` and the report as `<out>/<name>.json`, both or neither, and print the page."""
    numbers = json.dumps(asdict(report), indent=1) + "\n"
    with replace_atomically(out / f"{name}.json") as json_file, replace_atomically(out / f"{name}.md") as page_file:
        json_file.write_text(numbers, encoding="utf-8")
        page_file.write_text(page, encoding="utf-8")
    print(page)


def read_report(name: str, report: type[Report], folder: Path = RESULTS) -> Report:
    """Read the numbers that were published beside a page. Raises `DatasetError` for those of another version."""
    path = folder / f"{name}.json"
    document = load_json(path)
    try:
        return TypeAdapter(report).validate_python(document)
    except ValidationError as error:
        first, *others = error.errors()
        found = f"{'.'.join(map(str, first['loc'])) or 'the document'}: {first['msg']}"
        more = f" and {len(others)} more" if others else ""
        raise DatasetError(
            f"{path}: is damaged or of another version ({found}{more}); run the benchmark again that {name}.md names"
        ) from None
