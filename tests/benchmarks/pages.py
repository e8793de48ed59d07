"""Published pages, rendered from the committed numbers."""

from collections.abc import Callable, Mapping

from benchmarks.chain.report import ChainReport, chain_page
from benchmarks.chaos.report import ChaosReport, chaos_page
from benchmarks.claims import ClaimsReport, claims_page
from benchmarks.compare_models.beyond import BEYOND
from benchmarks.compare_models.budgets import EQUAL_TIME, equal_time_alone, equal_time_table
from benchmarks.compare_models.families import FAMILY_ROWS, families_table
from benchmarks.compare_models.report import comparison_page
from benchmarks.compare_models.results import ComparisonReport
from benchmarks.complexity import ComplexityReport
from benchmarks.data_access.report import AccessReport, access_page
from benchmarks.deep_supervision.report import GridReport, grid_page
from benchmarks.evaluation.report import EvaluationReport, evaluation_page
from benchmarks.harness.results import Report, read_report
from benchmarks.house.__main__ import HouseReport, house_page
from benchmarks.inference.report import InferenceReport, inference_page
from benchmarks.interval_coverage.__main__ import CoverageReport, coverage_page
from benchmarks.kernels.report import KernelsReport, kernels_page
from benchmarks.ladder.report import LadderReport, ladder_page
from benchmarks.layers.report import LayersReport, layers_page
from benchmarks.loading.report import LoadingReport, loading_page
from benchmarks.merging.__main__ import MergingReport, merging_page
from benchmarks.official_parity.study import ParityStudy, study_page
from benchmarks.operator.__main__ import OperatorReport, operator_page
from benchmarks.parameters.report import ParametersReport, parameters_page
from benchmarks.predict.__main__ import PredictReport, predict_page
from benchmarks.queries import QueriesReport, queries_page
from benchmarks.serve.report import ServeReport, serve_page
from benchmarks.tiles.__main__ import TilesReport, tiles_page
from benchmarks.tracking.__main__ import TrackingReport, tracking_page
from benchmarks.training.report import TrainingReport, training_page
from model.complexity.table import complexity_page


def _renderer(name: str, report: type[Report], page: Callable[[Report], str]) -> Callable[[], str]:
    return lambda: page(read_report(name, report))


def _equal_time_steps(report: ComparisonReport) -> dict[str, int]:
    found = {one.row.removesuffix(EQUAL_TIME): one.steps for one in report.results if one.row.endswith(EQUAL_TIME)}
    return {name: steps for name, steps in found.items() if steps}


def _families_page(report: ComparisonReport) -> str:
    return comparison_page(report, equal_time_table(families_table(list(FAMILY_ROWS)), _equal_time_steps(report)))


def _beyond_page(report: ComparisonReport) -> str:
    return comparison_page(report, equal_time_alone(BEYOND, _equal_time_steps(report)))


RENDERED: Mapping[str, Callable[[], str]] = {
    "beyond": _renderer("beyond", ComparisonReport, _beyond_page),
    "chain": _renderer("chain", ChainReport, chain_page),
    "chaos": _renderer("chaos", ChaosReport, chaos_page),
    "claims": _renderer("claims", ClaimsReport, claims_page),
    "comparison": _renderer("comparison", ComparisonReport, comparison_page),
    "complexity": _renderer("complexity", ComplexityReport, lambda report: complexity_page(report.rows)),
    "data_access": _renderer("data_access", AccessReport, access_page),
    "deep_supervision": _renderer("deep_supervision", GridReport, grid_page),
    "evaluation": _renderer("evaluation", EvaluationReport, evaluation_page),
    "families": _renderer("families", ComparisonReport, _families_page),
    "house": _renderer("house", HouseReport, house_page),
    "inference": _renderer("inference", InferenceReport, inference_page),
    "interval_coverage": _renderer("interval_coverage", CoverageReport, coverage_page),
    "kernels": _renderer("kernels", KernelsReport, kernels_page),
    "ladder": _renderer("ladder", LadderReport, ladder_page),
    "layers": _renderer("layers", LayersReport, layers_page),
    "loading": _renderer("loading", LoadingReport, loading_page),
    "merging": _renderer("merging", MergingReport, merging_page),
    "official_parity": lambda: study_page(read_report("official_parity", ParityStudy)),
    "operator": _renderer("operator", OperatorReport, operator_page),
    "parameters": _renderer("parameters", ParametersReport, parameters_page),
    "predict": _renderer("predict", PredictReport, predict_page),
    "queries": _renderer("queries", QueriesReport, queries_page),
    "serve": _renderer("serve", ServeReport, serve_page),
    "tiles": _renderer("tiles", TilesReport, tiles_page),
    "tracking": _renderer("tracking", TrackingReport, tracking_page),
    "training": _renderer("training", TrainingReport, training_page),
}
"""Renders the page from the committed numbers of each benchmark."""
