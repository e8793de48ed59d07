"""Train a network with a deep mask decoder once, and read its masks out after each layer: PQ and images per second.

    python -m benchmarks.layers --steps 2400
    python -m benchmarks.layers --depth 4 --steps 800 --seed 1 --rounds 15

The training is kept and resumed as those of `benchmarks.compare_models` are. The speed is measured with its weights,
all layers interleaved. Writes layers.md and layers.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from benchmarks.compare_models.options import WORK, comparison_parser
from benchmarks.compare_models.report import SeedResult
from benchmarks.compare_models.rows import ComparedModel, RowTable
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.harness.device import device_name, timer_for
from benchmarks.harness.interleave import interleave
from benchmarks.harness.results import Summary, publish
from benchmarks.layers.report import GROUPS, LayerResult, LayersReport, layers_page
from model.device import pick_device
from model.inference.predictor import NetworkInput, Predictor
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import load_checkpoint
from panoptic.data.reader import PanopticReader
from panoptic.evaluation.bootstrap import Interval
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.report.paired import CountedRun, compare
from panoptic.runtime.cli import run_command
from stages.settings import load_section

LAST = "last"


@dataclass(frozen=True)
class LayersPlan:
    """The network, and how its speed is measured."""

    depth: int
    seed: int
    images: int
    rounds: int

    def __post_init__(self) -> None:
        for name in ("depth", "images", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; give at least 1")

    @property
    def rows(self) -> Mapping[str, int]:
        """The layer of every row, 0 for the last."""
        return {**{f"layer_{layer}": layer for layer in range(1, self.depth + 1)}, LAST: 0}

    def table(self) -> RowTable:
        """Make the row that is trained, and those that read its masks out earlier."""
        deep = {"model": {"thing_mask_layers": self.depth, "stuff_mask_layers": self.depth}}
        rows = {
            name: ComparedModel(name, weights_of=LAST, settings=deep | {"predict": {"mask_layer": layer}})
            for name, layer in self.rows.items()
        }
        return RowTable("layers", "", rows | {LAST: ComparedModel(LAST, settings=deep)})


def measure_layers(runs: ComparisonRuns, plan: LayersPlan) -> LayersReport:
    """Train what is not trained, score all layers, and time them. Raises `ValueError` if a run failed."""
    rows = list(plan.rows)
    runs.prepare(rows)
    results, failures = runs.run(rows, [plan.seed])
    if failures:
        raise ValueError("\n".join(failures))
    seconds = _seconds(runs, plan)
    layers = [_layer(runs, plan, result, seconds) for result in sorted(results, key=lambda one: rows.index(one.row))]
    budget = runs.budget()
    timed = min(plan.images, budget.images)
    return LayersReport(budget, plan.seed, plan.depth, timed, plan.rounds, device_name(), layers)


def _layer(
    runs: ComparisonRuns, plan: LayersPlan, result: SeedResult, seconds: Mapping[str, Sequence[float]]
) -> LayerResult:
    intervals = read_json(runs.folder(result.row, plan.seed) / "metrics.json").child("intervals").child("pq")
    return LayerResult(
        plan.rows[result.row],
        {group: (result.pq[group], _percent(intervals.child(group))) for group in GROUPS if intervals.has(group)},
        None if result.row == LAST else _differences(runs, plan, result.row),
        Summary.of(seconds[result.row]),
        Summary.of_ratios(seconds[LAST], seconds[result.row]),
    )


def _percent(limits: JsonObject) -> Interval:
    return Interval(100 * limits.number("low"), 100 * limits.number("high"))


def _differences(runs: ComparisonRuns, plan: LayersPlan, row: str) -> dict[str, tuple[float, Interval]]:
    """Subtract the PQ of the last layer, in percent, for the groups in which it is known."""
    last, other = (CountedRun.read(runs.counts(name, plan.seed)) for name in (LAST, row))
    found = compare(last, other, PanopticIndex.load(runs.index("val")).categories).groups["pq"]
    return {
        group: (100 * one.value, Interval(100 * one.interval.low, 100 * one.interval.high))
        for group, one in found.items()
        if one.value is not None and one.interval is not None
    }


def _seconds(runs: ComparisonRuns, plan: LayersPlan) -> dict[str, list[float]]:
    """Time an image of the validation split for all layers, one round after the other."""
    device = pick_device()
    network = load_checkpoint(runs.folder(LAST, plan.seed) / "model.safetensors").network.to(device)
    settings = replace(load_section(runs.settings(LAST, plan.seed), "predict", InferenceSettings), batch_size=1)
    predictors = {row: Predictor(network, replace(settings, mask_layer=layer)) for row, layer in plan.rows.items()}
    index = PanopticIndex.load(runs.index("val"))
    reader = PanopticReader(index)
    records = list(islice(index.records, plan.images))
    inputs = [predictors[LAST].prepare(reader.image(record), record.file_name) for record in records]
    timer = timer_for(device)
    work = {
        row: partial(timer.seconds, partial(_predict_all, predictor, inputs)) for row, predictor in predictors.items()
    }
    found = interleave(work, plan.rounds, "layers")
    return {row: [seconds / len(inputs) for seconds in rounds] for row, rounds in found.items()}


def _predict_all(predictor: Predictor, inputs: Sequence[NetworkInput]) -> None:
    for one in inputs:
        predictor.predict([one])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = comparison_parser("layers", __doc__, WORK / "layers")
    parser.add_argument("--depth", type=int, default=6, help="blocks of the mask decoders (default: 6)")
    parser.add_argument("--steps", type=int, default=2400, help="optimizer steps of the training (default: 2400)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--images", type=int, default=20, help="that are timed in a round (default: 20)")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds of all layers (default: 9)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        plan = LayersPlan(arguments.depth, arguments.seed, arguments.images, arguments.rounds)
        runs = ComparisonRuns(arguments.params, arguments.work, arguments.steps, 1, plan.table())
        report = measure_layers(runs, plan)
        publish("layers", layers_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
