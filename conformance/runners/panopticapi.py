"""panopticapi, the code of COCO's benchmark, from its repository."""

from collections.abc import Mapping

from conformance.case import Case, Scores
from conformance.files import Files
from conformance.runners.harness import Runner, main
from conformance.runners.pq_stat import Annotation, Pair, PQStat, score_pairs


def score(case: Case, files: Files) -> Scores:
    """PQ."""
    from panopticapi.evaluation import pq_compute, pq_compute_single_core

    def count(pairs: list[Pair], categories: Mapping[int, Annotation]) -> PQStat:
        return pq_compute_single_core(0, pairs, str(files.gt_folder), str(files.prediction_folder), categories)

    return score_pairs(case, files, count, pq_compute)


RUNNER = Runner("panopticapi", ("panopticapi", "numpy"), {"pq": score}, lacks="has no boundary PQ")

if __name__ == "__main__":
    main(RUNNER)
