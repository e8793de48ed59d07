"""Our results as far as they lie here, in the columns of the papers' tables.

The benchmarks that publish them are part of a checkout only, so their files are read as JSON.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from model.published.papers import PaperTable
from panoptic.io.json_fields import FieldError, JsonObject, is_number, read_json
from panoptic.report.variants import EarlyExit
from panoptic_segformer.papers.systems import SYSTEMS, Source, System

RESULTS, RUNS = Path("benchmarks/results"), Path("runs/papers")
CORRUPTED = Path("runs/benchmarks/compare/families")
MINI = "mini"
"""Folder beside the runs in which `--run` leaves results on `mini`."""
_GROUPS = {"PQ": "all", "PQ th": "things", "PQ st": "stuff"}
_DETAILS = {"mask AP": "AP seg", "box AP": "AP box"}
_PLACES = {
    "evaluate/metrics.json": {
        **{column: f"pq.{group}" for column, group in _GROUPS.items()},
        **{column: f"{column.lower().replace(' ', '_')}.all" for column in ("SQ", "RQ")},
        **{f"boundary {name}": f"boundary_{name.lower()}.all" for name in ("PQ", "SQ", "RQ")},
        "AP box": "ap.bbox.AP",
        "AP seg": "ap.segm.AP",
        **{f"AP seg {size}": f"ap.segm.AP{size.lower()}" for size in "SML"},
    },
    "robustness/metrics.json": {"clean": "clean.all", "mean": "mean.all"},
}


@contextmanager
def _by_benchmark() -> Iterator[None]:
    """Say of a file with missing or wrong fields that a benchmark writes it: nobody adds them by hand."""
    try:
        yield
    except FieldError as error:
        raise FieldError(error.where, error.found, "run the benchmark again that wrote the file") from None


@dataclass(frozen=True)
class Results:
    """Where results lie.

    Attributes:
        runs: a folder `SYSTEM/` for each run of a recipe, laid out as `runs/`, and results on `mini`.
        published: the pages of the benchmarks.
        corrupted: where families were scored under corruption, a folder `ROW-SEED/` for each.
    """

    runs: Path = RUNS
    published: Path = RESULTS
    corrupted: Path = CORRUPTED

    @_by_benchmark()
    def on_mini(self, source: Source) -> Mapping[str, float]:
        """Return the means over the seeds; empty if nothing is there."""
        if source.page == "robustness":
            return _mean([_scores(path.parent) for path in sorted(self.corrupted.glob(f"{source.row}-*/robustness"))])
        read = _layer if source.page == "layers" else _compared
        return next((found for page in self._pages(source.page) if (found := read(page, source.row))), {})

    def of_recipe(self, name: str, table: PaperTable) -> Mapping[str, float]:
        """Return the scores of a finished run; COCO's server alone has those of test-dev."""
        return {} if "test-dev" in table.data else _scores(self.runs / name)

    def unread(self) -> list[str]:
        """Return the names of folders of runs that belong to no system, or lack all results."""
        folders = sorted(path for path in self.runs.glob("*") if path.is_dir() and path.name != MINI)
        return [
            path.name
            for path in folders
            if path.name not in SYSTEMS or not any((path / file).exists() for file in _PLACES)
        ]

    @_by_benchmark()
    def costs(self, system: System) -> Mapping[str, float]:
        """Return counted parameters and FLOPs, measured FPS and memory; as far as they are there."""
        return {**self._counted(system.model), **self._measured(system.ladder)}

    @_by_benchmark()
    def remark_on_costs(self, system: System) -> str:
        """Return why counted parameters or FLOPs are not the paper's; empty if they are, or were not counted."""
        return next((row.child("paper").text("remark") for row in self._models(system.model)), "")

    def _counted(self, model: str) -> dict[str, float]:
        for row in self._models(model):
            unused = row.child("paper").integer("unused_parameters")
            trainable = _numbers(row.child("parameters").child("trainable"))
            return {
                "parameters": (sum(trainable.values()) + unused) / 1e6,
                "FLOPs": row.number("macs_at_papers_size") / 1e9,
            }
        return {}

    def _models(self, name: str) -> Iterator[JsonObject]:
        return (row for row in self._rows("complexity") if row.text("name") == name)

    def _measured(self, ladder: str) -> dict[str, float]:
        for row in self._rows("ladder"):
            if row.text("row") == ladder:
                return {"FPS": _fps(row), "memory": row.number("training_mb")}
        return {}

    def _rows(self, name: str) -> Iterator[JsonObject]:
        for page in self._pages(name):
            yield from page.objects("rows")

    def _pages(self, name: str) -> Iterator[JsonObject]:
        """Read the published page first, then those that `--run` has left."""
        for path in (self.published / f"{name}.json", *sorted(self.runs.glob(f"{MINI}/*/{name}.json"))):
            if path.exists():
                yield read_json(path)


def _scores(run: Path) -> dict[str, float]:
    """Read what stages have left in the folder of a run."""
    scores = {}
    for file, places in _PLACES.items():
        path = run / file
        document = read_json(path) if path.exists() else JsonObject({}, str(path))
        corrupted = document.values.get("corruptions")
        own = {name: f"corruptions.{name}.all" for name in corrupted} if isinstance(corrupted, dict) else {}
        for column, place in (places | own).items():
            value = _nested(document.values, place)
            if is_number(value):
                scores[column] = 100 * value
    return scores


def _compared(page: JsonObject, row: str) -> dict[str, float]:
    seeds = []
    for result in page.objects("results"):
        if result.text("row") == row:
            pq = _numbers(result.child("pq"))
            details = _numbers(result.child("details")) if result.has("details") else {}
            named = {_DETAILS.get(name, name): value for name, value in details.items()}
            seeds.append({column: pq[group] for column, group in _GROUPS.items() if group in pq} | named)
    return _mean(seeds)


def _layer(page: JsonObject, row: str) -> dict[str, float]:
    for layer in EarlyExit.of(page.child("early_exit")).layers:
        if layer.name == row:
            found = {column: 100 * layer.pq[group].value for column, group in _GROUPS.items() if group in layer.pq}
            return {**found, "FPS": 1000 / _positive(layer.milliseconds.value, page.where)}
    return {}


def _fps(row: JsonObject) -> float:
    seconds = row.child("seconds")
    return 1 / _positive(seconds.number("median"), seconds.where)


def _positive(time: float, where: str) -> float:
    if time <= 0:
        raise FieldError(where, f"a time is {time:g}, no duration", "measure it again")
    return time


def _mean(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    columns = dict.fromkeys(column for seed in seeds for column in seed)
    return {column: fmean(seed[column] for seed in seeds if column in seed) for column in columns}


def _numbers(found: JsonObject) -> dict[str, float]:
    return {name: value for name, value in found.values.items() if is_number(value)}


def _nested(values: object, place: str) -> object:
    for key in place.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values
