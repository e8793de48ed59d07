"""Train three networks with learned queries, and explain them: where their queries attend, and what they find.

    python -m benchmarks.queries --jobs 2
    python -m benchmarks.queries --depth 4 --steps 800 --seed 1

Figure 6 of the CVPR paper is attention with and without deep supervision, here as the fraction inside the ground truth
masks; figure 7 is stuff precision over thing preference with joint matching. Both are those of the stage `explain`
(docs/explain.md). Trainings are kept and resumed as those of `benchmarks.compare_models` are. Writes queries.md and
queries.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compare_models.families import FAMILY_ROWS
from benchmarks.compare_models.options import WORK, comparison_parser, exit_if_any
from benchmarks.compare_models.results import TrainingBudget
from benchmarks.compare_models.rows import SCORE_THRESHOLD, ComparedModel, RowTable, mask_layers
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.harness.results import publish
from model.explanation.settings import ExplainSettings
from model.inference.settings import InferenceSettings
from panoptic.markdown import markdown_page, markdown_table
from panoptic.report.explained import ATTENTION, FILE, LayerCurve, Preference, QueryPoint
from panoptic.report.explained import Explanation as StageExplanation
from panoptic.runtime.cli import run_command
from stages.explain import explain
from stages.settings import load_section

WITH, WITHOUT, JOINT = "deep_supervision", "no_deep_supervision", "joint_matching"
_TITLES = {WITH: "with deep supervision", WITHOUT: "without", JOINT: "joint matching"}
_FEW = 10
"""Predictions of stuff below which the precision of a query says little; a query is listed from here on."""


@dataclass(frozen=True)
class QueriesReport:
    """Attention by row, and the queries of joint matching; `pq` in percent, by row."""

    conditions: TrainingBudget
    seed: int
    depth: int
    pq: Mapping[str, float]
    attention: Mapping[str, Sequence[LayerCurve]]
    preference: Preference


def queries_table(depth: int) -> RowTable:
    """Make the rows. Raises `ValueError` for mask decoders without layers."""
    learned = FAMILY_ROWS["learned_queries"].settings
    model, train = {**learned["model"], **mask_layers(depth)}, learned["train"]
    settings: Mapping[str, Mapping[str, Mapping[str, object]]] = {
        WITH: {"model": model, "train": train},
        WITHOUT: {"model": model, "train": {**train, "deep_supervision": False}},
        JOINT: {"model": {**model, "stuff": "joint"}, "train": train},
    }
    return RowTable("queries", "", {row: ComparedModel(row, settings=own) for row, own in settings.items()})


def explain_rows(runs: ComparisonRuns, seed: int, depth: int) -> QueriesReport:
    """Train what is not trained, and explain all rows on the validation images. Ends the program if a run failed."""
    rows = list(runs.table.rows)
    runs.prepare(rows)
    results, failures = runs.run(rows, [seed])
    exit_if_any(failures)
    found = {row: _explained(runs, row, seed) for row in rows}
    attention = {row: [curve for curve in found[row].curves if curve.part == ATTENTION] for row in (WITH, WITHOUT)}
    preference = found[JOINT].preference
    assert preference is not None, "its queries find things and stuff"
    pq = {one.row: one.pq["all"] for one in results}
    return QueriesReport(runs.budget(), seed, depth, pq, attention, preference)


def _explained(runs: ComparisonRuns, row: str, seed: int) -> StageExplanation:
    folder = runs.folder(row, seed)
    inference = load_section(runs.settings(row, seed), "predict", InferenceSettings)
    out = folder / "explain"
    explain(ExplainSettings(drawn=1), inference, runs.index("val"), folder / "model.safetensors", out)
    return StageExplanation.read(out / FILE)


def queries_page(report: QueriesReport) -> str:
    """Render attention by layer, and the queries of joint matching."""
    budget = report.conditions
    pq = ", ".join(f"{_TITLES[row]} {value:.1f}" for row, value in report.pq.items())
    return markdown_page(
        "# Where queries attend, and what they find",
        "Written by `python -m benchmarks.queries`: figures 6 and 7 of the CVPR paper in numbers. Networks with"
        f" learned queries, as published, and {report.depth} layers in both mask decoders, trained once (seed"
        f" {report.seed}) for {budget.steps} steps of {budget.batch_size} images with the other settings of"
        f" `params.yaml`, and explained on {budget.images} validation images with a score threshold of"
        f" {SCORE_THRESHOLD}. PQ: {pq}. In brackets 95 % bootstrap intervals over images, which say nothing about a"
        " second training."
        " [explain.md](../../docs/explain.md) has the definitions.",
        "## Attention inside the mask",
        "Percent of a query's attention, mean of the heads, inside the ground truth mask of the segment it found;"
        f" spread evenly it would be {_areas(report)}. The paper: with deep supervision attention focuses on the"
        " target in earlier layers (figure 6).",
        _attention_table(report),
        "## Thing preference and stuff precision with joint matching",
        _preference_text(report.preference),
        _preference_table(mixed(report.preference)),
    )


def mixed(preference: Preference) -> list[QueryPoint]:
    """Return the queries that find things, and stuff often enough to say how precisely."""
    return [point for point in preference.points if point.things and point.right + point.wrong >= _FEW]


def _areas(report: QueriesReport) -> str:
    return ", ".join(f"{100 * curve.area:.0f} for {curve.group}" for curve in report.attention[WITH])


def _attention_table(report: QueriesReport) -> str:
    curves = [(row, curve) for row, found in report.attention.items() for curve in found]
    header = ["layer", *(f"{curve.group}, {_TITLES[row]}" for row, curve in curves)]
    layers = zip(*(curve.layers for _, curve in curves), strict=True)
    return markdown_table(
        header, [[cells[0].name, *(f"{100 * cell.inside:.0f}" for cell in cells)] for cells in layers]
    )


def _preference_text(found: Preference) -> str:
    points = [point for point in found.points if point.precision is not None]
    slope = "" if found.slope is None else f" The slope of the regression is {found.slope:+.2f}."
    return (
        f"Of {len(found.points)} queries that found anything, {len(points)} found stuff that counts, and of these"
        f" {sum(point.things > 0 for point in points)} found things as well.{slope} The paper: the more a query prefers"
        f" things, the lower is the precision of its stuff (figure 7), a slope below 0.{_said_of_table(found)}"
    )


def _said_of_table(found: Preference) -> str:
    if mixed(found):
        return f" The table has the queries that found both, stuff at least {_FEW} times."
    return " No query found both, and stuff often enough to say how precisely: there is nothing to compare."


def _preference_table(points: Sequence[QueryPoint]) -> str:
    header = ["query", "things", "stuff", "thing preference", "stuff precision"]
    rows = [_query_cells(point) for point in sorted(points, key=lambda one: one.preference)]
    return markdown_table(header, rows) if rows else ""


def _query_cells(point: QueryPoint) -> list[str]:
    assert point.precision is not None
    numbers = [str(point.query), str(point.things), str(point.stuff)]
    return [*numbers, f"{point.preference:.2f}", f"{point.precision:.2f}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = comparison_parser("queries", __doc__, WORK / "queries")
    parser.add_argument("--depth", type=int, default=6, help="layers of both mask decoders (default: 6)")
    parser.add_argument("--steps", type=int, default=1200, help="optimizer steps of a training (default: 1200)")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="parallel trainings, which share the cores (default: 1)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        table = queries_table(arguments.depth)
        runs = ComparisonRuns(arguments.params, arguments.work, arguments.steps, arguments.jobs, table)
        report = explain_rows(runs, arguments.seed, arguments.depth)
        publish("queries", queries_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
