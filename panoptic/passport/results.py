"""The passport of results, which holds that of the weights, and the passport of an exported network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.json_fields import load_json
from panoptic.passport.digests import digest_of
from panoptic.passport.document import Passport, read_passport, seal
from panoptic.passport.machine import describe_machine
from panoptic.passport.origin import describe_code
from panoptic.passport.training import described_files, passport_path
from panoptic.runtime.fingerprint import PROJECT, code_digests
from panoptic.runtime.settings import read_values


@dataclass(frozen=True)
class ResultFiles:
    """The folders that the stages after training have written; `robustness` may be missing."""

    predictions: Path
    scores: Path
    robustness: Path
    gt_instances: Path


def seal_results(params: Path, weights: Path, files: ResultFiles, out: Path) -> Passport:
    """Make the passport of the results of some weights, to be written to `out`.

    Raises:
        ValueError: the passport of the weights was edited, or is not of these weights.
    """
    present = {name: path for name, path in _result_files(files) if path.exists()}
    metrics = {name: load_json(path) for name, path in present.items() if name.endswith("/metrics.json")}
    sections = {
        "files": described_files(present, out.parent),
        "code": _code(),
        "machine": describe_machine({}),
        "settings": read_values(params),
        "metrics": metrics,
        "usage": {"predictions": load_json(files.predictions / "timings.json")},
    }
    return seal("results", sections, read_parent(weights))


def seal_export(settings: Mapping[str, object], parent: Passport | None, files: Mapping[str, Path]) -> Passport:
    """Make the passport of an exported network; `parent` is that of its weights, if they have one.

    `settings` by their full names; `files` are what will lie beside the passport, by their names there.
    """
    sections = {
        "files": {name: {"path": name, "sha256": digest_of(path)} for name, path in files.items()},
        "code": _code(),
        "machine": describe_machine({}),
        "settings": dict(settings),
    }
    return seal("export", sections, parent)


def read_parent(weights: Path) -> Passport | None:
    """Read the passport of weights; None if they have none, because another program or an earlier version made them.

    Raises:
        ValueError: it was edited, or is that of other weights.
    """
    path = passport_path(weights)
    if not path.is_file():
        return None
    parent = read_passport(path)
    if broken := parent.broken_link():
        raise ValueError(f"{path}: {broken}; train again, or restore the file")
    found = described_files({"weights": weights}, path.parent)
    if found["weights"] != parent.section("files").values.get("weights"):
        raise ValueError(f"{path} is the passport of other weights than {weights}; train again, or restore the files")
    return parent


def _result_files(files: ResultFiles) -> Iterator[tuple[str, Path]]:
    yield "instances ground truth", files.gt_instances
    for name in ("predictions", "scores", "robustness"):
        folder: Path = getattr(files, name)
        for path in sorted(folder.glob("[!.]*")):
            yield f"{name}/{path.name}", path


def _code() -> dict[str, object]:
    sources = [path for folder in ("model", "panoptic", "stages") for path in (PROJECT / folder).rglob("*.py")]
    return describe_code(PROJECT, code_digests(sources))
