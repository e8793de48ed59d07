"""The outcome of a check, and what all checks know of the run that they look at."""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TypeVar

from omegaconf import OmegaConf

from model.device import pick_device
from model.ops.backends import describe_rounding
from panoptic.io.errors import DatasetError
from panoptic.io.reading import read_text
from panoptic.io.working_folder import working_folder
from panoptic.passport.document import Passport
from panoptic.passport.machine import describe_machine
from panoptic.runtime.settings import read_section

OK, FAILED, NOT_MADE = "ok", "FAILED", "not made"
T = TypeVar("T")
_ROUNDING = (
    *("processor", "architecture", "libc", "libraries", "torch_record", "instruction_set"),
    *("operator", "device", "cuda", "environment"),
)
"""Fields of a machine's description that two machines of one kind have in common; threads are set as they were."""


@dataclass(frozen=True)
class Check:
    """What was checked, one of the verdicts, and what was found and expected."""

    name: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class Run:
    """The passports of a run; `results` is None where only weights or an export are looked at.

    Paths in passports to data are relative to the working directory, those to the run's own files to the passport.
    """

    weights: Passport
    results: Passport | None
    weights_passport: Path
    results_passport: Path | None
    model: Path

    def data(self, name: str) -> Path:
        """The path of data that the passport of the weights names."""
        return Path(self.weights.section("data").child(name).text("path"))

    def weight_file(self, name: str) -> Path | None:
        """The path of a file beside the weights, if it is listed and exists."""
        return _listed(self.weights, self.weights_passport, name)

    def result(self, name: str) -> Path | None:
        """The path of a file of the results, if it is listed and exists."""
        return _listed(self.results, self.results_passport, name)

    @cached_property
    def machine_differences(self) -> tuple[str, ...]:
        """In what this machine is of another kind than the one that trained; empty if it rounds alike."""
        recorded, here = self.weights.section("machine").values, machine_here()
        names = [name for name in _ROUNDING if recorded.get(name) != here.get(name)]
        differences = [f"{name} {_shown(here.get(name))} instead of {_shown(recorded.get(name))}" for name in names]
        if recorded.get("processes") != 1:
            differences.append(f"1 process instead of {recorded.get('processes')}")
        return tuple(differences)


def _listed(passport: Passport | None, location: Path | None, name: str) -> Path | None:
    if passport is None or location is None or not passport.section("files").has(name):
        return None
    path = location.parent / passport.section("files").child(name).text("path")
    return path if path.exists() else None


def last_row(curve: Path) -> dict[str, float]:
    """Read the last row of a curve that the training wrote; nothing is read as NaN.

    Raises:
        DatasetError: It is no such table.
    """
    lines = read_text(curve).splitlines()
    try:
        *_, last = [{}, *csv.DictReader(lines)]
        row = {name: float(text or "nan") for name, text in last.items()}
    except (ValueError, TypeError, csv.Error):
        row = {}
    if not isfinite(row.get("step", float("nan"))):
        raise DatasetError(f"{curve}: expected a table of numbers whose last row has a step; copy the file again")
    return row


def machine_here() -> dict[str, object]:
    """Describe this machine as passports do."""
    described: dict[str, object] = json.loads(json.dumps(describe_machine(describe_rounding(pick_device()))))
    return described


def _shown(value: object) -> str:
    return f"{value!r:.100}"


def settings_of(passport: Passport, section: str, schema: type[T]) -> T:
    """The settings of a section, checked as if they were read from the file that they came from."""
    with settings_file(passport) as path:
        return read_section(path, section, schema, required=False)


@contextmanager
def settings_file(passport: Passport) -> Iterator[Path]:
    """A file with the settings of a passport, for as long as the block runs. JSON is YAML."""
    nested = OmegaConf.create({})
    for name, value in passport.section("settings").values.items():
        OmegaConf.update(nested, name, value, force_add=True)
    with working_folder() as folder:
        path = folder / "params.yaml"
        path.write_text(json.dumps(OmegaConf.to_container(nested)), encoding="utf-8")
        yield path


def compare_json(found: object, expected: object, where: str = "", tolerance: float = 0.0) -> Iterator[str]:
    """Yield every value that differs between two JSON documents, by its place."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for name in sorted({*found, *expected}, key=str):
            place = f"{where}.{name}" if where else str(name)
            yield from compare_json(found.get(name), expected.get(name), place, tolerance)
    elif isinstance(found, float) and isinstance(expected, float):
        if abs(found - expected) > tolerance:
            yield f"{where} is {expected:.6g}, recomputed {found:.6g}"
    elif found != expected:
        yield f"{where} is {expected!r:.60}, recomputed {found!r:.60}"


def first(findings: list[str], count: int = 3) -> str:
    """The first findings and the number of the others."""
    more = f" and {len(findings) - count} more" if len(findings) > count else ""
    return "; ".join(findings[:count]) + more
