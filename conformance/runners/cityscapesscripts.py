"""cityscapesScripts, the code of the Cityscapes benchmark."""

from collections.abc import Mapping

from conformance.case import Case, Scores
from conformance.files import Files
from conformance.runners.harness import Runner, main
from conformance.runners.pq_stat import Annotation, Pair, PQStat, score_pairs


def score(case: Case, files: Files) -> Scores:
    """PQ."""
    from cityscapesscripts.evaluation.evalPanopticSemanticLabeling import evaluatePanoptic, pq_compute_single_core

    def count(pairs: list[Pair], categories: Mapping[int, Annotation]) -> PQStat:
        return pq_compute_single_core(0, pairs, str(files.gt_folder), str(files.prediction_folder), categories)

    def whole(gt_json: str, prediction_json: str, gt_folder: str, prediction_folder: str) -> object:
        results = str(files.gt_json.parent / "results.json")
        return evaluatePanoptic(gt_json, gt_folder, prediction_json, prediction_folder, results)

    return score_pairs(case, files, count, whole)


RUNNER = Runner("cityscapesScripts", ("cityscapesScripts", "numpy"), {"pq": score}, lacks="has no boundary PQ")

if __name__ == "__main__":
    main(RUNNER)
